//! The scripts: sent by their hash, and in full when the server does not know the hash.

use std::sync::LazyLock;

use redis::{Cmd, Script, ToRedisArgs};

pub(super) static TRY_ACQUIRE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("try_acquire.lua")));
pub(super) static END_HOLD: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("end_hold.lua")));
pub(super) static RECONCILE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("reconcile.lua")));
pub(super) static REBUILD: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("rebuild.lua")));
pub(super) static PUT_CART_LINE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("put_cart_line.lua")));

/// A script and its hash.
pub(super) struct Lua {
    code: &'static str,
    hash: String,
}

impl Lua {
    fn new(code: &'static str) -> Self {
        Self { code, hash: Script::new(code).get_hash().to_owned() }
    }

    /// A call with these keys; arguments are pushed afterwards.
    pub(super) fn call(&'static self, keys: &[&str]) -> ScriptCall {
        let mut call = ScriptCall { script: self, rest: Vec::with_capacity(16) };
        call.arg(keys.len());
        keys.iter().for_each(|key| call.arg(key));
        call
    }
}

/// One call of a script.
pub(super) struct ScriptCall {
    script: &'static Lua,
    rest: Vec<Vec<u8>>,
}

impl ScriptCall {
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) {
        argument.write_redis_args(&mut self.rest);
    }

    /// By hash: what is sent first.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// In full, which also makes the server remember it. Sent instead of SCRIPT LOAD because in a Redis Cluster it goes
    /// to the node of the keys and to no other, which may be away.
    pub(super) fn in_full(&self) -> Cmd {
        self.command("EVAL", self.script.code)
    }

    fn command(&self, verb: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(&self.rest);
        command
    }
}
