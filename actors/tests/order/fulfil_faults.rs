//! Shipping, receipt, refunds and returns while every call fails once, as in [`crate::faults`].

use std::time::Duration;

use actors::domain::Money;
use actors::domain::order::{OrderStatus, PayType};
use actors::domain::reject::{Failure, Reject};
use actors::domain::returns::{ReturnCommand, ReturnState};
use actors::order::RefundWish;
use futures_util::FutureExt;

use crate::faults::{Flow, Prepared, stubborn, survives_every_fault};
use crate::house::*;

/// Done, or found done when asked again.
fn went<T>(result: Result<T, Failure>, already: &Reject) -> Option<()> {
    match result {
        Ok(_) => Some(()),
        Err(Failure::Rejected(reject)) if reject == *already => Some(()),
        Err(Failure::Rejected(reject)) => panic!("{reject:?}"),
        Err(Failure::Unavailable(_)) => None,
    }
}

async fn ship_and_receive(house: &House, prepared: &Prepared, times: usize) {
    let order_sn = &prepared.orders[0];
    // Asked once more after all is done, it is completed.
    for _ in 0..times {
        stubborn("shipping", || async {
            let shipped = house.orders.ship(order_sn, shipment()).await;
            went(shipped, &Reject::WrongState(OrderStatus::Shipped))
        })
        .await;
    }
    house.deliver_times(times).await;
    for _ in 0..times {
        stubborn("the receipt", || async {
            let received = house.orders.receive(ALICE, order_sn, None).await;
            went(received, &Reject::WrongState(OrderStatus::Completed))
        })
        .await;
    }
    house.deliver_times(times).await;
}

#[actix::test]
async fn shipping_and_receipt() {
    survives_every_fault(Flow {
        name: "shipping and receipt",
        prepare: |house| {
            async {
                let order_sn = house.placed(ALICE, &[(PHONE, 7)]).await.order_sn;
                house.pay(&order_sn).await;
                Prepared { orders: vec![order_sn], bodies: Vec::new() }
            }
            .boxed_local()
        },
        run: |house, prepared, times| ship_and_receive(house, prepared, times).boxed_local(),
    })
    .await;
}

#[actix::test]
async fn cash_on_delivery() {
    survives_every_fault(Flow {
        name: "cash on delivery",
        prepare: |house| {
            async {
                let mut mine = request(house.token(ALICE).await, &[(PHONE, 7)]);
                mine.pay_type = PayType::CashOnDelivery;
                let order_sn = house.place(ALICE, mine).await.order_sn;
                Prepared { orders: vec![order_sn], bodies: Vec::new() }
            }
            .boxed_local()
        },
        run: |house, prepared, times| ship_and_receive(house, prepared, times).boxed_local(),
    })
    .await;
}

#[actix::test]
async fn receipt_by_time() {
    survives_every_fault(Flow {
        name: "receipt by time",
        prepare: |house| {
            async {
                let order_sn = house.shipped(ALICE, &[(PHONE, 7)]).await;
                Prepared { orders: vec![order_sn], bodies: Vec::new() }
            }
            .boxed_local()
        },
        run: |house, _, times| {
            async move {
                house.pass(Duration::from_secs(7 * 24 * 3600));
                for _ in 0..=times {
                    house.sweep_and_deliver().await;
                }
            }
            .boxed_local()
        },
    })
    .await;
}

#[actix::test]
async fn a_whole_refund() {
    survives_every_fault(Flow {
        name: "a whole refund",
        prepare: |house| {
            async {
                // The messages of the payment are still on their way.
                let order_sn = house.placed(ALICE, &[(PHONE, 7), (CASE, 1)]).await.order_sn;
                house.pay(&order_sn).await;
                Prepared { orders: vec![order_sn], bodies: Vec::new() }
            }
            .boxed_local()
        },
        run: |house, prepared, times| {
            async move {
                for _ in 0..times {
                    stubborn("the refund", || async {
                        let note = "asked".to_owned();
                        let refunded = house.orders.refund_order(&prepared.orders[0], RefundWish::Whole, note).await;
                        went(refunded, &Reject::WrongState(OrderStatus::Closed))
                    })
                    .await;
                }
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
async fn partial_refunds() {
    survives_every_fault(Flow {
        name: "partial refunds",
        prepare: |house| {
            async {
                let order_sn = house.paid(ALICE, &[(PHONE, 1)]).await;
                Prepared { orders: vec![order_sn], bodies: Vec::new() }
            }
            .boxed_local()
        },
        run: |house, prepared, times| {
            async move {
                for (reference, fen) in [("a", 1_050), ("b", 50), ("c", PRICE.0 - 1_100)] {
                    for _ in 0..times {
                        stubborn("the refund", || async {
                            let wish = RefundWish::Part { amount: Money(fen), reference: reference.into() };
                            house.orders.refund_order(&prepared.orders[0], wish, "x".into()).await.ok()
                        })
                        .await;
                    }
                    // One of these meets the fault at most: each is confirmed before the next is asked for.
                    for _ in 0..=times {
                        house.sweep_and_deliver().await;
                    }
                }
            }
            .boxed_local()
        },
    })
    .await;
}

#[actix::test]
async fn a_return() {
    survives_every_fault(Flow {
        name: "a return",
        prepare: |house| {
            async {
                let order_sn = house.completed(ALICE, &[(PHONE, 7)]).await;
                Prepared { orders: vec![order_sn], bodies: Vec::new() }
            }
            .boxed_local()
        },
        run: |house, prepared, times| {
            async move {
                let mut return_id = 0;
                for _ in 0..times {
                    return_id = stubborn("the request", || async {
                        let asked = house.orders.request_return(ALICE, &prepared.orders[0], wish(PHONE, 3), None).await;
                        asked.ok().map(|(row, _)| row.id)
                    })
                    .await;
                }
                let steps =
                    [(ReturnCommand::Approve, ReturnState::Returning), (ReturnCommand::Receive, ReturnState::Done)];
                for (command, reached) in steps {
                    for _ in 0..times {
                        stubborn("the step", || async {
                            let handled = house.orders.handle_return(return_id, command, true, "x".into()).await;
                            went(handled, &Reject::WrongReturnState(reached))
                        })
                        .await;
                    }
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
