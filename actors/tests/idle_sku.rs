//! What a SKU costs that nobody asks for any more, by a heap that counts (DESIGN 9: at most 2 KiB).

use actors::domain::SkuId;
use actors::stock::StockSettings;
use actors::testkit::Shop;
use actors::writer::WriterSettings;

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

const SKUS: i64 = 2_000;
const MOST_BYTES: usize = 2_048;

fn bytes() -> usize {
    dhat::HeapStats::get().curr_bytes
}

/// Asks for a unit of each SKU and gives it back.
async fn ask_each(shop: &Shop, skus: std::ops::RangeInclusive<i64>) {
    for sku in skus {
        let reservation = shop.stock.reserve(&[(SkuId(sku), 1)]).await.expect("there are units enough");
        drop(reservation);
    }
}

#[actix::test]
async fn an_idle_sku_costs_at_most_2_kib() {
    let _counting = dhat::Profiler::builder().testing().build();
    let shop = Shop::open(StockSettings::default(), WriterSettings::default());
    for sku in 1..=SKUS + 1 {
        shop.add_stock(SkuId(sku), &[10]);
    }
    // Whatever the first of all needs is no SKU's own.
    ask_each(&shop, 1..=1).await;
    let before = bytes();
    ask_each(&shop, 2..=SKUS + 1).await;
    // Their last messages are taken in: the abandoned unit is there again.
    shop.stock.rows(SkuId(SKUS + 1)).await.expect("the store answers");
    let each = (bytes() - before) / usize::try_from(SKUS).expect("a small number");
    eprintln!("an idle SKU: {each} bytes");
    assert_eq!(shop.stock.active() as i64, SKUS + 1, "none has ended meanwhile");
    assert!(each <= MOST_BYTES, "{each} bytes");
}
