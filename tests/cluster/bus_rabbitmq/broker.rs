//! The broker as an operator sees it: virtual hosts and the management API.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actors::domain::events::Message;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::variable;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Where a broker is.
#[derive(Clone)]
pub struct Broker {
    pub amqp: String,
    pub management: String,
}

impl Broker {
    /// The one that all tests share.
    pub fn shared() -> Self {
        Self {
            amqp: variable("SECKILL_TEST_RABBITMQ_URL"),
            management: variable("SECKILL_TEST_RABBITMQ_MANAGEMENT_URL"),
        }
    }

    /// One call of the management API.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let client = Client::builder().timeout(TIMEOUT).build().expect("a client");
        let mut request = client.request(method, format!("{}/api/{path}", self.management));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the management API answers");
        let status = answer.status();
        let text = answer.text().await.expect("an answer");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn must(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    fn user(&self) -> &str {
        self.amqp.split("//").nth(1).and_then(|rest| rest.split(':').next()).expect("a user in the address")
    }
}

/// A virtual host of its own; removed when dropped.
pub struct Vhost {
    pub broker: Broker,
    pub name: String,
}

impl Vhost {
    /// An empty one on the shared broker.
    pub async fn fresh() -> Self {
        Self::on(Broker::shared()).await
    }

    /// An empty one.
    pub async fn on(broker: Broker) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bus-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let vhost = Self { broker, name };
        vhost.broker.must(Method::PUT, &format!("vhosts/{}", vhost.name), None).await;
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        let path = format!("permissions/{}/{}", vhost.name, vhost.broker.user());
        vhost.broker.must(Method::PUT, &path, Some(all)).await;
        vhost
    }

    pub fn url(&self) -> String {
        format!("{}/{}", self.broker.amqp, self.name)
    }

    /// `GET` below this virtual host.
    pub async fn get(&self, kind: &str, rest: &str) -> Value {
        self.broker.must(Method::GET, &format!("{kind}/{}{rest}", self.name), None).await
    }

    pub async fn put(&self, path: &str, body: Value) {
        self.broker.must(Method::PUT, path, Some(body)).await;
    }

    pub async fn delete(&self, path: &str) {
        self.broker.must(Method::DELETE, path, None).await;
    }

    pub async fn delete_binding(&self, exchange: &str, queue: &str, key: &str) {
        self.delete(&format!("bindings/{}/e/{exchange}/q/{queue}/{key}", self.name)).await;
    }

    /// Queues that messages of this exchange and key go to.
    pub async fn bound(&self, exchange: &str, key: &str) -> Vec<String> {
        let bindings = self.get("exchanges", &format!("/{exchange}/bindings/source")).await;
        let bindings = bindings.as_array().expect("a list");
        let of_key = bindings.iter().filter(|binding| binding["routing_key"] == key);
        of_key.map(|binding| binding["destination"].as_str().expect("a name").to_owned()).collect()
    }

    /// Prefetch of every consumer, by queue.
    pub async fn prefetches(&self) -> Vec<(String, u64)> {
        let consumers = self.get("consumers", "").await;
        let one = |consumer: &Value| {
            let queue = consumer["queue"]["name"].as_str().expect("a name").to_owned();
            (queue, consumer["prefetch_count"].as_u64().expect("a number"))
        };
        let mut prefetches: Vec<_> = consumers.as_array().expect("a list").iter().map(one).collect();
        prefetches.sort();
        prefetches
    }

    /// Names of the connections of our bus. The broker's statistics know them some seconds late.
    pub async fn connections(&self) -> Vec<String> {
        let all = self.get("vhosts", "/connections").await;
        let all = all.as_array().expect("a list").iter();
        let given = |connection: &Value| connection["client_properties"]["connection_name"].as_str().map(str::to_owned);
        let ours = all.filter(|connection| given(connection).is_some_and(|name| name.starts_with("seckill ")));
        ours.filter_map(|connection| connection["name"].as_str().map(str::to_owned)).collect()
    }

    /// Ends the connections of our bus by force, as an operator may.
    pub async fn end_connections(&self) {
        for name in self.connections().await {
            let path = format!("connections/{}", name.replace(' ', "%20").replace("->", "-%3E"));
            let (status, answer) = self.broker.ask(Method::DELETE, &path, None).await;
            assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{status} {answer}");
        }
    }

    /// A client of the broker that is none of ours.
    pub async fn stranger(&self) -> Stranger {
        Stranger::connect(&self.url()).await
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let (broker, path) = (self.broker.clone(), format!("vhosts/{}", self.name));
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(broker.ask(Method::DELETE, &path, None));
        });
        // A broker that the test took down has nothing to remove.
        let _ = removal.join();
    }
}

/// A client of the broker that uses nothing of ours.
pub struct Stranger {
    pub channel: Channel,
    _connection: Connection,
}

impl Stranger {
    async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { channel, _connection: connection }
    }

    /// Sends what it likes and waits until the broker has it.
    pub async fn send(&self, exchange: &str, key: &str, message_id: Option<&str>, payload: &[u8]) {
        let confirmation = self.start(exchange, key, message_id, payload).await.await.expect("a confirm");
        assert_eq!(confirmation, Confirmation::Ack(None), "{exchange} {key}");
    }

    /// Sends without waiting.
    pub async fn start(
        &self,
        exchange: &str,
        key: &str,
        message_id: Option<&str>,
        payload: &[u8],
    ) -> lapin::PublisherConfirm {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        if let Some(message_id) = message_id {
            properties = properties.with_message_id(message_id.into());
        }
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let published = self.channel.basic_publish(exchange.into(), key.into(), options, payload, properties);
        published.await.expect("the channel is open")
    }

    /// Sends one of our messages again.
    pub async fn repeat(&self, message: &Message) {
        let (key, id) = (message.key, Some(message.message_id.as_str()));
        self.send(key.exchange(), key.as_str(), id, message.payload.as_bytes()).await;
    }
}
