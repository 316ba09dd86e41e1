use super::*;

const COMMANDS: [OrderCommand; 7] = [
    OrderCommand::Pay,
    OrderCommand::Close,
    OrderCommand::Ship,
    OrderCommand::Receive,
    OrderCommand::Refund,
    OrderCommand::PartialRefund,
    OrderCommand::Return,
];

#[test]
fn allowed_is_what_apply_does() {
    for status in OrderStatus::ALL {
        for command in COMMANDS {
            let is_allowed = status.allowed().contains(&command);
            assert_eq!(apply(status, command).is_ok(), is_allowed, "{command:?} in {status:?}");
        }
    }
}

#[test]
fn an_order_that_is_over_stays_over() {
    for status in [OrderStatus::Closed, OrderStatus::Void] {
        for command in COMMANDS {
            assert_eq!(apply(status, command), Err(WrongState { status, command }));
        }
    }
}

#[test]
fn a_shipped_order_is_received_by_itself_after_its_days() {
    assert_eq!(auto_receive_at(Timestamp(5), 7), Timestamp(5 + 7 * 86_400_000));
}
