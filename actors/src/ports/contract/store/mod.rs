//! The store's contract, one test per sentence of [`crate::ports::store`].
//!
//! An adapter implements [`StoreFixture`] and [`Fixture`] and runs everything with one line in its test crate:
//!
//! ```ignore
//! actors::store_contract!(MyFixtures);
//! ```
//!
//! The tests drive the store through its port alone; a fixture only fills it and, where a test needs that, changes a
//! row behind its back. Time is a [`ManualClock`] that the store must take as its own.

pub mod simulation;
pub mod values;
pub mod world;

pub mod adjusting;
pub mod closing;
pub mod editing;
pub mod flash_orders;
pub mod fulfilling;
pub mod grants;
pub mod locking;
pub mod messages;
pub mod payments;
pub mod placing;
pub mod points;
pub mod reads;
pub mod refunding;
pub mod requests;
pub mod resolving;
pub mod returning;
pub mod sales;

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{Money, SkuId, WareId, WareSkuId};
use crate::local::clock::ManualClock;
use crate::ports::store::{Address, Member, Sku, Store, StoreRules};

/// Makes empty stores of one adapter.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// A fresh, empty store whose clock is `clock`.
    async fn fresh(&self, clock: Arc<ManualClock>, rules: StoreRules) -> Box<dyn Fixture>;
}

/// One store and the ways to fill it from the outside. Dropping it may remove what the store is kept in.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Adds a SKU with its sale attributes.
    async fn add_sku(&self, sku: &Sku);

    /// Changes the price of a known SKU.
    async fn set_price(&self, sku_id: SkuId, price: Money);

    /// Adds a warehouse.
    async fn add_warehouse(&self, ware_id: WareId, name: &str);

    /// Adds a stock row of a known SKU and warehouse, with its opening ledger row; answers its id.
    async fn add_stock(&self, sku_id: SkuId, ware_id: WareId, stock: i64) -> WareSkuId;

    /// Adds a member; a balance of points other than 0 gets its opening history row.
    async fn add_member(&self, member: &Member);

    /// Adds an address of a known member, under its own id.
    async fn add_address(&self, address: &Address);

    /// Sets a stock row without asking whether it is right and without a ledger row, as another program would; raises
    /// its version. Callers keep 0 ≤ locked ≤ stock, which the database itself may guard.
    async fn tamper_stock(&self, id: WareSkuId, stock: i64, locked: i64);
}

/// Runs the whole suite on an adapter: one `#[tokio::test]` per contract sentence. The argument is an expression of a
/// type that implements [`StoreFixture`](crate::ports::contract::store::StoreFixture), evaluated once per test.
#[macro_export]
macro_rules! store_contract {
    ($fixtures:expr) => {
        $crate::store_contract_tests! { $fixtures,
            placing: [
                an_order_is_saved_with_everything_it_says,
                cash_on_delivery_starts_awaiting_shipment,
                a_creation_is_announced,
                a_token_makes_one_order,
                a_token_belongs_to_its_user,
                a_token_twice_in_one_batch_makes_one_order,
                a_stale_unit_leaves_its_token_free,
                a_refusing_row_makes_the_unit_stale,
                units_that_share_a_row_are_tried_in_order,
                a_stale_unit_takes_nothing_of_its_other_rows,
                an_order_may_draw_on_many_rows,
                many_orders_in_one_batch,
                an_order_number_is_used_once,
            ],
            locking: [
                owners_lock_together,
                an_owner_locks_once,
                an_owner_twice_in_one_batch_locks_once,
                owners_of_a_unit_fall_together,
                kinds_that_share_a_row_are_tried_in_order,
                a_lock_sees_the_adjustments_before_it,
                locks_past_their_lease_are_listed,
            ],
            resolving: [
                a_lock_is_resolved_either_way,
                a_lock_is_resolved_once,
                the_orders_status_must_fit,
                an_owner_without_locks_on_the_sku_is_unknown,
                all_rows_of_one_sku_are_resolved,
                many_owners_in_many_units,
                a_resolution_sees_what_the_batch_did_before,
                lapsed_only_spares_orders_and_leases,
                locks_left_behind_are_listed,
            ],
            adjusting: [
                units_come_and_go,
                a_missing_row_is_made,
                a_row_never_falls_below_its_locks,
                unknown_places_and_things_are_refused,
                adjustments_of_a_batch_follow_one_another,
            ],
            grants: [
                winners_are_granted,
                no_more_than_remain_are_granted,
                nobody_wins_beyond_the_limit,
                a_repeated_unit_grants_nothing_twice,
                failed_grants_do_not_count_released_ones_do,
                permits_of_another_epoch_grant_nothing,
                only_a_live_sale_grants,
                grants_of_one_batch_follow_one_another,
                sales_of_one_batch_are_apart,
                a_crowd_is_granted_in_its_order,
                grants_without_an_order_are_listed,
            ],
            flash_orders: [
                a_winners_order_is_made,
                a_winners_order_is_made_once,
                an_order_needs_its_grant,
                a_crowd_of_orders_in_one_batch,
                units_are_drawn_from_every_warehouse,
                a_grant_fails_with_a_reason,
                only_waiting_grants_fail,
                making_and_failing_in_one_batch,
                an_ended_sale_keeps_units_for_open_grants,
                a_released_unit_goes_where_it_is_needed,
                releasing_and_ending_in_one_batch,
                a_paid_winners_unit_is_sold,
                a_unit_that_came_back_is_sold_again,
            ],
            sales: [
                a_sale_is_created_as_a_draft,
                arming_carves_units_out_of_stock,
                arming_beyond_the_stock_is_stale,
                commands_must_fit_the_state,
                one_open_sale_per_sku,
                a_window_must_not_be_over,
                ending_gives_the_rest_back,
                ending_reaches_every_warehouse,
                an_epoch_is_raised_by_one,
                sales_are_listed,
            ],
            payments: [
                the_right_money_pays,
                a_trade_is_recorded_once,
                a_wrong_amount_changes_nothing,
                unneeded_money_is_refunded,
                a_refund_is_settled_once,
                money_for_no_order_leaves_no_trace,
                two_trades_in_one_batch_pay_once,
                many_payments_in_one_batch,
                paying_and_closing_in_one_batch,
                a_pay_page_is_issued_in_time,
                a_decided_order_has_no_pay_page,
            ],
            closing: [
                an_owner_cancels,
                a_timeout_waits_until_it_is_due,
                orders_of_a_unit_are_judged_alone,
                an_order_is_closed_once_in_a_batch,
                a_crowd_is_closed_in_one_batch,
                overdue_orders_are_found,
                unpaid_orders_are_read_together,
            ],
            points: [
                a_paid_order_is_sent_on,
                a_message_is_announced_once,
                points_are_credited_once,
                only_buyers_of_paid_orders_earn,
                unknown_orders_and_members_are_credited,
                missing_points_are_listed,
                points_before_the_payment_are_not_missing,
            ],
            fulfilling: [
                a_paid_order_is_shipped,
                an_order_is_shipped_and_received_in_its_time,
                an_owner_receives,
                an_order_is_received_by_time,
                cash_is_taken_at_the_receipt,
                steps_of_one_batch_follow_one_another,
                staff_search_orders,
            ],
            refunding: [
                a_whole_order_is_refunded_before_shipment,
                a_confirmed_refund_leaves_its_payment_applied,
                a_refund_before_the_units_left_unlocks_them,
                parts_are_refunded_up_to_the_payment,
                a_whole_refund_gives_back_the_rest,
                a_refund_needs_a_paid_order,
                shipping_and_refunding_in_one_batch,
                late_points_come_without_what_was_refunded,
                cash_goes_back_by_hand,
                a_winners_unit_goes_to_ordinary_stock,
                late_money_after_a_refund_goes_back_on_its_own,
            ],
            returning: [
                an_owner_asks_to_return,
                one_request_of_a_line_is_open,
                no_more_is_returned_than_was_bought,
                a_return_needs_its_order,
                received_goods_are_paid_back,
                goods_may_stay_off_the_shelf,
                a_return_gives_back_what_is_left,
                a_request_is_handled_in_its_order,
                units_come_back_after_they_left,
                a_winners_unit_is_returned,
                requests_are_listed,
            ],
            messages: [
                messages_are_packed_by_key,
                the_outbox_lists_what_waits,
                a_message_is_queued_once,
                queued_messages_are_retried_and_finished,
                the_queue_is_read_in_pages,
                a_message_is_parked_once,
                a_parked_message_is_replayed_once,
                published_messages_are_forgotten,
                seen_messages_are_forgotten,
                replayed_messages_are_forgotten,
            ],
            reads: [
                the_store_knows_the_time,
                the_owner_is_part_of_the_question,
                orders_are_listed_newest_first,
                pages_are_stable_under_inserts,
                members_are_read,
                addresses_are_read,
                skus_are_read,
                stock_is_read,
                carts_are_kept,
                facts_leave_the_youngest_out,
                sales_are_read_page_by_page,
                the_ledger_is_read_page_by_page,
                parked_messages_are_read_page_by_page,
                a_buyers_grants_are_read,
            ],
            requests: [
                a_key_is_kept_with_its_order,
                a_key_makes_one_order,
                a_key_twice_in_one_batch_makes_one_order,
                a_refused_order_leaves_its_key_free,
                a_change_keeps_its_key,
                a_change_under_a_kept_key_is_undone,
                a_refused_change_leaves_its_key_free,
                old_keys_are_forgotten,
            ],
            editing: [
                a_draft_is_edited,
                an_edit_must_have_seen_the_draft,
                an_open_sale_is_restocked,
                only_open_sales_are_restocked,
                restocking_beyond_the_stock_is_stale,
                a_receiver_is_changed_by_its_owner_in_time,
            ],
        }
    };
}

/// Not for use: [`store_contract!`] expands to it.
#[doc(hidden)]
#[macro_export]
macro_rules! store_contract_tests {
    ($fixtures:expr, $($suite:ident: [$($test:ident),* $(,)?]),* $(,)?) => {
        $(
            mod $suite {
                #[allow(unused_imports)]
                use super::*;
                $(
                    #[tokio::test]
                    async fn $test() {
                        $crate::ports::contract::store::$suite::$test(&$fixtures).await;
                    }
                )*
            }
        )*
    };
}
