//! What stops a start, and what does not.

use std::time::Duration;

use actors::domain::events::{Queue, RoutingKey};
use actors::ports::bus::Bus;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use seckill::bus::rabbitmq::{OpenError, RabbitSettings};

use super::broker::{Broker, Vhost};
use super::{DELAYS, message, receive, try_open, until};

fn settings() -> RabbitSettings {
    RabbitSettings { reconnect_max: Duration::from_millis(300), ..RabbitSettings::new(DELAYS) }
}

async fn refusal(url: &str) -> String {
    let Err(error) = try_open(url, settings()).await else { panic!("{url} is taken") };
    let text = error.to_string();
    assert!(text.starts_with("rabbitmq.url: "), "{text}");
    text
}

#[tokio::test]
async fn what_the_broker_refuses_stops_the_start() {
    assert_eq!(try_open("amqp//nonsense", settings()).await.err(), Some(OpenError::Address));

    let broker = Broker::shared();
    let wrong_password = broker.amqp.replacen("seckill:", "seckill:x", 1);
    let text = refusal(&wrong_password).await;
    assert!(text.contains("ACCESS") && !text.contains("seckill:x"), "{text}");

    let text = refusal(&format!("{}/no-such-vhost", broker.amqp)).await;
    assert!(text.contains("no-such-vhost"), "{text}");
}

#[tokio::test]
async fn a_missing_permission_stops_the_start() {
    let vhost = Vhost::fresh().await;
    let user = vhost.name.replace("bus", "reader");
    vhost.put(&format!("users/{user}"), serde_json::json!({"password": "secret", "tags": ""})).await;
    let only_read = serde_json::json!({"configure": "", "write": "", "read": ".*"});
    vhost.put(&format!("permissions/{}/{user}", vhost.name), only_read).await;
    let address = vhost.broker.amqp.rsplit('@').next().expect("an address").to_owned();
    let text = refusal(&format!("amqp://{user}:secret@{address}/{}", vhost.name)).await;
    vhost.delete(&format!("users/{user}")).await;
    assert!(text.contains("ORDER-CART-EXCHANGE"), "{text}");
}

#[tokio::test]
async fn a_queue_declared_otherwise_stops_the_start() {
    let vhost = Vhost::fresh().await;
    let stranger = vhost.stranger().await;
    let (options, arguments) = (QueueDeclareOptions::durable(), FieldTable::default());
    stranger.channel.queue_declare("ORDER-STOCK-QUEUE".into(), options, arguments).await.expect("a classic queue");
    let text = refusal(&vhost.url()).await;
    assert!(text.contains("ORDER-STOCK-QUEUE"), "{text}");
}

#[tokio::test]
async fn a_broker_that_is_away_stops_no_start_and_is_found_later() {
    // A port that is free now and led to the broker later.
    let vhost = Vhost::fresh().await;
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = gate.local_addr().expect("an address").port();
    drop(gate);
    let (login, target) = vhost.broker.amqp.rsplit_once('@').expect("a login");
    let bus = try_open(&format!("{login}@127.0.0.1:{port}/{}", vhost.name), settings()).await.expect("starts anyway");
    let status = bus.status();
    assert!(!status.is_connected() && !status.is_verified() && status.is_ready());
    let one = message(RoutingKey::StockUnlock, "early");
    assert!(bus.publish(std::slice::from_ref(&one)).await[0].is_err());

    let gate = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port is still free");
    let target = target.to_owned();
    tokio::spawn(async move {
        loop {
            let (mut inside, _) = gate.accept().await.expect("a caller");
            let target = target.clone();
            tokio::spawn(async move {
                let mut outside = tokio::net::TcpStream::connect(target).await.expect("the broker");
                // Ends with either side.
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    until("the broker is found", async || status.is_connected() && status.is_verified()).await;
    assert_eq!(bus.publish(&[one]).await, [Ok(())]);
    assert_eq!(receive(bus.as_ref(), Queue::StockUnlock, 1).await[0].message_id, "early");
}
