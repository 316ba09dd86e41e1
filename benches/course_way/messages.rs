//! One message an order, its confirm awaited before the next.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use super::{Client, Effort, measure};

const QUEUE: &str = "course-way";

/// A connection with a durable quorum queue of its own.
pub struct Broker {
    connection: Connection,
    control: Channel,
}

impl Broker {
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let control = connection.create_channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        control.queue_declare(QUEUE.into(), durable, arguments).await?;
        Ok(Self { connection, control })
    }

    pub async fn publisher(&self) -> anyhow::Result<Publisher> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Publisher { channel })
    }

    pub async fn close(self) -> anyhow::Result<()> {
        self.control.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
        self.connection.close(200, "done".into()).await?;
        Ok(())
    }
}

pub struct Publisher {
    channel: Channel,
}

impl Publisher {
    /// Persistent, mandatory, its confirm awaited.
    pub async fn publish(&self, order_sn: &str) -> anyhow::Result<()> {
        let body = format!(r#"{{"orderToken":"{order_sn}","userId":1,"skuIds":[49],"messageId":"{order_sn}"}}"#);
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let confirm =
            self.channel.basic_publish("".into(), QUEUE.into(), mandatory, body.as_bytes(), persistent).await?;
        match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            other => anyhow::bail!("not confirmed: {other:?}"),
        }
    }
}

impl Client for Publisher {
    async fn go(&mut self) -> anyhow::Result<()> {
        self.publish("20260101000000000123456789012345").await
    }
}

pub async fn run(effort: Effort, broker: &Broker) -> anyhow::Result<()> {
    let one = Effort { clients: 1, ..effort };
    measure("RabbitMQ, confirm awaited per message", one, vec![broker.publisher().await?]).await
}
