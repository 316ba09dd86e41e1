"""What the servers of a run stand on: one SQLite file, or private PostgreSQL, Redis and RabbitMQ instances."""

import os
import secrets
import shutil
import subprocess

import store
from services import Services, newest_postgres


class Embedded:
    """A data directory, and nothing else."""

    mode = "embedded"
    # One process a data directory.
    nodes = 1

    def __init__(self, directory):
        self.data = os.path.join(directory, "data")

    def settings(self):
        return {}

    def service_token(self):
        with open(os.path.join(self.data, "service-token"), encoding="ascii") as file:
            return file.read().strip()

    def books(self):
        return store.SqliteBooks(os.path.join(self.data, "seckill.db"))

    def close(self):
        pass


class Cluster:
    """Servers of this run alone, which may be killed. The nodes share a data directory for their demo keys."""

    mode = "cluster"

    def __init__(self, directory, nodes):
        self.nodes = nodes
        self.data = os.path.join(directory, "data")
        self.folder = os.path.join(directory, "services")
        # The services' own users must be able to come in.
        os.chmod(directory, 0o711)
        self.services = Services(self.folder, False)
        self.services.up()
        self.redis, self.postgres = self.services.named("redis"), self.services.named("postgres")
        self.token, self.secret = secrets.token_hex(16), secrets.token_hex(16)
        psql = os.path.join(newest_postgres(), "psql")
        subprocess.run([psql, self.postgres.url(), "-qc", "CREATE DATABASE seckill"], check=True, stdin=subprocess.DEVNULL)

    def database_url(self):
        return self.postgres.url().rsplit("/", 1)[0] + "/seckill"

    def settings(self):
        return {
            "mode": "cluster",
            "database.url": self.database_url(),
            "redis.url": self.redis.url(),
            "rabbitmq.url": self.services.named("rabbitmq").variables()["SECKILL_TEST_RABBITMQ_URL"],
            "internal.token": self.token,
            "order.token_secret": self.secret,
        }

    def service_token(self):
        return self.token

    def books(self):
        return store.PostgresBooks(self.database_url())

    def close(self):
        self.services.down()

    # What may happen to a service

    def kill(self, name):
        self.services.named(name).signal(9)

    def start(self, name):
        self.services.named(name).start()
        self.services.save()

    def flush_redis(self):
        self.redis.ask("FLUSHALL")

    def copy_redis(self):
        """Keeps what Redis has now, to be put back later."""
        shutil.rmtree(self._old_redis(), ignore_errors=True)
        subprocess.run(["cp", "-a", self._redis_data(), self._old_redis()], check=True)

    def put_old_redis_back(self):
        """Only while Redis is down."""
        shutil.rmtree(self._redis_data())
        subprocess.run(["cp", "-a", self._old_redis(), self._redis_data()], check=True)

    def _redis_data(self):
        return os.path.join(self.redis.folder, "appendonlydir")

    def _old_redis(self):
        return os.path.join(self.redis.folder, "old")
