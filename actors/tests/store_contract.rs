//! The store's contract on the reference model.

use actors::local::store::MemoryFixtures;

actors::store_contract!(MemoryFixtures);
