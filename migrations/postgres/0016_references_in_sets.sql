-- A foreign key is looked up row by row: a third of what inserting a batch of lock rows cost. The rows that come in large
-- batches have theirs looked up once a statement instead. What they refer to is never deleted, and no key ever changes.

ALTER TABLE wms_stock_lock DROP CONSTRAINT wms_stock_lock_ware_sku_id_fkey;
ALTER TABLE oms_order_item DROP CONSTRAINT oms_order_item_order_sn_fkey;
ALTER TABLE sms_flash_sale_grant DROP CONSTRAINT sms_flash_sale_grant_sale_id_fkey;

CREATE FUNCTION locks_have_their_stock_rows() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT ware_sku_id FROM made) AS asked
               WHERE NOT EXISTS (SELECT FROM wms_ware_sku AS w WHERE w.id = asked.ware_sku_id)) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a lock row without its stock row', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION items_have_their_orders() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT order_sn FROM made) AS asked
               WHERE NOT EXISTS (SELECT FROM oms_order AS o WHERE o.order_sn = asked.order_sn)) THEN
        RAISE foreign_key_violation USING MESSAGE = 'an item without its order', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION grants_have_their_sales() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT sale_id FROM made) AS asked
               WHERE NOT EXISTS (SELECT FROM sms_flash_sale AS s WHERE s.id = asked.sale_id)) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a grant without its sale', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

-- The argument says what refers to what, for whoever reads the schema.
CREATE TRIGGER wms_stock_lock_refers AFTER INSERT ON wms_stock_lock
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION locks_have_their_stock_rows('ware_sku_id wms_ware_sku id');
CREATE TRIGGER oms_order_item_refers AFTER INSERT ON oms_order_item
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION items_have_their_orders('order_sn oms_order order_sn');
CREATE TRIGGER sms_flash_sale_grant_refers AFTER INSERT ON sms_flash_sale_grant
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION grants_have_their_sales('sale_id sms_flash_sale id');

CREATE FUNCTION refuse_to_forget() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'rows of % stay, and so do their keys', TG_TABLE_NAME; END $$;

CREATE TRIGGER wms_ware_sku_stays BEFORE DELETE OR UPDATE OF id ON wms_ware_sku
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
CREATE TRIGGER oms_order_stays BEFORE DELETE OR UPDATE OF order_sn ON oms_order
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
CREATE TRIGGER sms_flash_sale_stays BEFORE DELETE OR UPDATE OF id ON sms_flash_sale
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
CREATE TRIGGER wms_stock_lock_stays BEFORE UPDATE OF ware_sku_id ON wms_stock_lock
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
CREATE TRIGGER oms_order_item_stays BEFORE UPDATE OF order_sn ON oms_order_item
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
CREATE TRIGGER sms_flash_sale_grant_stays BEFORE UPDATE OF sale_id ON sms_flash_sale_grant
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_forget();
