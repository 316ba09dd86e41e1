//! Adapters of the bus port that connect to a broker. The in-process one is `actors::local::bus`.

pub mod rabbitmq;
