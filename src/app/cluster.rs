//! Redis and RabbitMQ, from the configuration.

use std::sync::Arc;

use actors::domain::events::Delays;

use crate::bus::rabbitmq::{RabbitBus, RabbitSettings};
use crate::config::Config;
use crate::coordination::redis::{RedisCoordination, RedisSettings};
use crate::machine::{SystemClock, SystemEntropy};

pub async fn redis(config: &Config) -> anyhow::Result<RedisCoordination> {
    let settings = RedisSettings {
        url: config.redis.url.expose().to_owned(),
        more_urls: config.redis.more_urls.iter().map(|url| url.expose().to_owned()).collect(),
        connect_timeout: config.redis.connect_timeout,
        response_timeout: config.redis.response_timeout,
        pipeline_buffer: config.redis.pipeline_buffer,
        token_life: config.order.token_ttl,
    };
    Ok(RedisCoordination::open(&settings).await?)
}

pub async fn rabbitmq(config: &Config, delays: Delays) -> anyhow::Result<Arc<RabbitBus>> {
    let rabbitmq = &config.rabbitmq;
    let settings = RabbitSettings {
        prefetch: rabbitmq.prefetch,
        connect_timeout: rabbitmq.connect_timeout,
        confirm_timeout: rabbitmq.confirm_timeout,
        heartbeat: rabbitmq.heartbeat,
        reconnect_max: rabbitmq.reconnect_max,
        repair_pause: rabbitmq.repair_pause,
        ..RabbitSettings::new(delays)
    };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    Ok(RabbitBus::open(rabbitmq.url.expose(), settings, clock, entropy).await?)
}
