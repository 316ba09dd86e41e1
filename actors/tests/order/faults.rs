//! Every call of the store, and every call of the gateway, fails once: before it happened, or after it happened with
//! its answer lost. The caller tries again as it does in life, every message comes twice, and the world must come out
//! as if nothing had gone wrong.

use std::future::Future;
use std::time::Duration;

use actors::domain::order::OrderStatus;
use actors::domain::reject::{Failure, Reject};
use actors::domain::{Money, OrderSn};
use actors::flash_sale::Attempt;
use actors::order::NotifyAnswer;
use actors::ports::store::units::PutCartItem;
use actors::testkit::{GatewayFault, StoreFault};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::house::*;
use crate::world::{World, look};

/// Tries of a caller before it gives up.
const TRIES: usize = 4;
const DUE: Duration = Duration::from_secs(31 * 60);

/// A way through the house: what must be there before, and the steps, each done so many times.
pub(crate) struct Flow {
    pub(crate) name: &'static str,
    pub(crate) prepare: for<'a> fn(&'a House) -> LocalBoxFuture<'a, Prepared>,
    pub(crate) run: for<'a> fn(&'a House, &'a Prepared, usize) -> LocalBoxFuture<'a, ()>,
}

/// Orders and notifications that a flow starts from.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) orders: Vec<OrderSn>,
    pub(crate) bodies: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Store(usize, StoreFault),
    Gateway(usize, GatewayFault),
}

/// Does a step again until it goes well, as its caller would.
pub(crate) async fn stubborn<T, F: Future<Output = Option<T>>>(what: &str, mut step: impl FnMut() -> F) -> T {
    for _ in 0..TRIES {
        if let Some(done) = step().await {
            return done;
        }
    }
    panic!("{what} does not go well in {TRIES} tries");
}

async fn notify(house: &House, body: &[u8]) {
    stubborn("the notification", || async {
        (house.orders.take_notification(body).await == NotifyAnswer::Success).then_some(())
    })
    .await;
}

/// One run: the world at its end, and how many calls of store and gateway the flow made.
async fn run(flow: &Flow, times: usize, fault: Fault) -> (World, usize, usize) {
    let house = House::open(&[6, 4]).await;
    let prepared = (flow.prepare)(&house).await;
    match fault {
        Fault::None => house.faults.arm(None),
        Fault::Store(number, fault) => house.faults.arm(Some((number, fault))),
        Fault::Gateway(number, fault) => {
            house.faults.arm(None);
            house.gateway.arm(Some((number, fault)));
        }
    }
    let asked_before = house.gateway.all_calls();
    (flow.run)(&house, &prepared, times).await;
    let (stored, asked) = (house.faults.calls().len(), house.gateway.all_calls() - asked_before);
    house.faults.arm(None);
    house.gateway.arm(None);
    for _ in 0..3 {
        house.sweep_and_deliver().await;
    }
    house.assert_at_rest().await;
    (look(&house).await, stored, asked)
}

pub(crate) async fn survives_every_fault(flow: Flow) {
    let (expected, stored, asked) = run(&flow, 1, Fault::None).await;
    assert!(stored > 0, "{}: the flow asks the store", flow.name);
    let (twice, ..) = run(&flow, 2, Fault::None).await;
    assert_eq!(twice, expected, "{}: every step twice", flow.name);
    let mut faults = Vec::new();
    for number in 1..=stored {
        faults.extend([StoreFault::Before, StoreFault::After].map(|fault| Fault::Store(number, fault)));
    }
    for number in 1..=asked {
        faults.extend([GatewayFault::Before, GatewayFault::After].map(|fault| Fault::Gateway(number, fault)));
    }
    for fault in faults {
        for times in [1, 2] {
            // Shown by the harness when the run fails.
            eprintln!("{} with {fault:?}, every step {times} times", flow.name);
            let (world, ..) = run(&flow, times, fault).await;
            assert_eq!(world, expected, "{} with {fault:?}, every step {times} times", flow.name);
        }
    }
}

#[actix::test]
async fn submit() {
    survives_every_fault(Flow {
        name: "submit",
        prepare: |house| {
            async {
                for (sku_id, quantity) in [(PHONE, 7), (CASE, 1)] {
                    house.writer.commit(PutCartItem { user_id: ALICE, sku_id, quantity }).await.unwrap();
                }
                Prepared::default()
            }
            .boxed_local()
        },
        run: |house, _, times| {
            async move {
                let wants = [(PHONE, 7), (CASE, 1)];
                let page = stubborn("confirm", || async { house.orders.confirm(ALICE, &wants).await.ok() }).await;
                for _ in 0..times {
                    let mine = request(page.token.clone(), &wants);
                    stubborn("submit", || async { house.submit(ALICE, mine.clone()).await.ok() }).await;
                }
                house.deliver_times(times).await;
            }
            .boxed_local()
        },
    })
    .await;
}

#[actix::test]
async fn pay() {
    survives_every_fault(Flow {
        name: "pay",
        prepare: |house| {
            async {
                let order_sn = house.placed(ALICE, &[(PHONE, 7), (CASE, 1)]).await.order_sn;
                house.deliver().await;
                let amount = Money(8 * PRICE.0);
                let bodies = vec![
                    house.gateway.pay(&order_sn, amount).unwrap(),
                    house.gateway.pay_with_another_trade(&order_sn, amount),
                ];
                Prepared { orders: vec![order_sn], bodies }
            }
            .boxed_local()
        },
        run: |house, prepared, times| {
            async move {
                for body in &prepared.bodies {
                    for _ in 0..times {
                        notify(house, body).await;
                    }
                    house.deliver_times(times).await;
                }
                for _ in 0..times {
                    house.sweep_and_deliver().await;
                }
            }
            .boxed_local()
        },
    })
    .await;
}

#[actix::test]
async fn close() {
    survives_every_fault(Flow {
        name: "close",
        prepare: |house| {
            async {
                let waiting = house.placed(ALICE, &[(PHONE, 7)]).await.order_sn;
                house.gateway.open_cashier(&waiting, Money(7 * PRICE.0));
                let unopened = house.placed(ALICE, &[(PHONE, 1)]).await.order_sn;
                let paid = house.placed(BOB, &[(CASE, 2)]).await.order_sn;
                let mut plain = request(house.token(BOB).await, &[(CASE, 1)]);
                plain.with_pay_page = false;
                let plain = house.place(BOB, plain).await.order_sn;
                house.deliver().await;
                let lost = house.gateway.pay(&paid, Money(2 * PRICE.0)).unwrap();
                Prepared { orders: vec![waiting, unopened, paid, plain], bodies: vec![lost] }
            }
            .boxed_local()
        },
        run: |house, _, times| {
            async move {
                house.pass(DUE);
                house.deliver_times(times).await;
                for _ in 0..times {
                    house.sweep_and_deliver().await;
                }
            }
            .boxed_local()
        },
    })
    .await;
}

#[actix::test]
async fn cancel() {
    survives_every_fault(Flow {
        name: "cancel",
        prepare: |house| {
            async {
                let order_sn = house.placed(ALICE, &[(PHONE, 7)]).await.order_sn;
                house.gateway.open_cashier(&order_sn, Money(7 * PRICE.0));
                let late = house.gateway.pay_with_another_trade(&order_sn, Money(7 * PRICE.0));
                Prepared { orders: vec![order_sn], bodies: vec![late] }
            }
            .boxed_local()
        },
        run: |house, prepared, times| {
            async move {
                let is_closed = Failure::Rejected(Reject::WrongState(OrderStatus::Closed));
                for _ in 0..times {
                    stubborn("cancel", || async {
                        match house.orders.cancel(ALICE, &prepared.orders[0], None).await {
                            Ok(()) => Some(()),
                            Err(failure) => (failure == is_closed).then_some(()),
                        }
                    })
                    .await;
                }
                house.deliver_times(times).await;
                for _ in 0..times {
                    notify(house, &prepared.bodies[0]).await;
                }
            }
            .boxed_local()
        },
    })
    .await;
}

#[actix::test]
async fn flash_orders() {
    survives_every_fault(Flow {
        name: "flash orders",
        prepare: |house| {
            async {
                house.sale(3).await;
                Prepared::default()
            }
            .boxed_local()
        },
        run: |house, _, times| {
            async move {
                let mut numbers = Vec::new();
                for user in [ALICE, BOB, CAROL] {
                    for _ in 0..times {
                        numbers.push(win(house, user).await);
                    }
                }
                numbers.dedup();
                house.deliver_times(times).await;
                // The first pays, the others let it lapse.
                for _ in 0..times {
                    let page = || async { house.orders.issue_pay_page(ALICE, &numbers[0], None).await.ok() };
                    stubborn("the pay page", page).await;
                }
                let body = house.gateway.pay(&numbers[0], SALE_PRICE).unwrap();
                for _ in 0..times {
                    notify(house, &body).await;
                }
                house.deliver_times(times).await;
                house.pass(Duration::from_secs(6 * 60));
                house.deliver_times(times).await;
                for _ in 0..times {
                    house.sweep_and_deliver().await;
                }
                house.pass(Duration::from_secs(3600));
                for _ in 0..times {
                    house.sweep_and_deliver().await;
                }
            }
            .boxed_local()
        },
    })
    .await;
}

/// The number of the buyer's win, the first time or again.
async fn win(house: &House, user: actors::domain::UserId) -> OrderSn {
    let gate = house.flash.gate_of_sku(PHONE).unwrap();
    stubborn("the attempt", || async {
        match house.flash.attempt(&gate, user).await {
            Ok(Attempt::Won(order_sn) | Attempt::AlreadyWon(order_sn)) => Some(order_sn),
            Ok(other) => panic!("{user:?}: {other:?}"),
            Err(_) => None,
        }
    })
    .await
}

#[actix::test]
async fn a_lost_sku_of_winners() {
    survives_every_fault(Flow {
        name: "failing grants",
        prepare: |house| {
            async {
                let sale_id = house.sale(3).await;
                house.win(sale_id, ALICE).await;
                house.win(sale_id, BOB).await;
                house.memory.remove_sku(PHONE);
                Prepared::default()
            }
            .boxed_local()
        },
        run: |house, _, times| {
            async move {
                house.deliver_times(times).await;
                for _ in 0..times {
                    house.sweep_and_deliver().await;
                }
            }
            .boxed_local()
        },
    })
    .await;
}

/// The store goes away in the middle of everything and comes back: what was answered stays, the rest is done later.
#[actix::test]
async fn an_outage_between_any_two_calls() {
    let flow = async |from: Option<usize>| {
        let house = House::open(&[6, 4]).await;
        let mine = request(house.token(ALICE).await, &[(PHONE, 7)]);
        house.faults.arm(None);
        house.faults.go_away_at(from);
        let first = house.submit(ALICE, mine.clone()).await.ok();
        house.try_deliver().await;
        let paid = match &first {
            Some(submitted) => {
                let body = house.gateway.pay(&number_of(submitted), Money(7 * PRICE.0)).unwrap();
                let answer = house.orders.take_notification(&body).await;
                house.try_deliver().await;
                Some((body, answer))
            }
            None => None,
        };
        let calls = house.faults.calls().len();
        house.faults.go_away_at(None);
        let number = number_of(&stubborn("submit", || async { house.submit(ALICE, mine.clone()).await.ok() }).await);
        if let Some(submitted) = &first {
            assert_eq!(number_of(submitted), number, "what was answered stays");
        }
        match paid {
            Some((_, NotifyAnswer::Success)) => {}
            Some((body, _)) => notify(&house, &body).await,
            None => notify(&house, &house.gateway.pay(&number, Money(7 * PRICE.0)).unwrap()).await,
        }
        house.bus.settled().await;
        for _ in 0..3 {
            house.sweep_and_deliver().await;
        }
        house.assert_at_rest().await;
        (look(&house).await, calls)
    };
    let (expected, calls) = flow(None).await;
    for from in 1..=calls {
        eprintln!("away from call {from} on");
        assert_eq!(flow(Some(from)).await.0, expected, "away from call {from} on");
    }
}
