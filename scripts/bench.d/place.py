"""What a mode's servers stand on: nothing, or PostgreSQL, Redis and RabbitMQ of this run alone."""

import os
import secrets
import shutil
import subprocess
import tempfile
import urllib.request

from services import Services, basic, newest_postgres

MODES = ("embedded", "cluster")


class Cluster:
    """Started when first asked for. Each store has a database, a numbered Redis database and a virtual host."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="seckill-bench-")
        # The services' own users must be able to come in.
        os.chmod(self.directory, 0o711)
        self.services = Services(os.path.join(self.directory, "services"), False)
        self.token, self.secret = secrets.token_hex(16), secrets.token_hex(16)
        self.stores = 0
        try:
            self.services.up()
        except BaseException:
            self.close()
            raise

    def url(self, name):
        """Of a service: the variable's value that the tests know."""
        variable = {"postgres": "SECKILL_TEST_DATABASE_URL", "redis": "SECKILL_TEST_REDIS_URL",
                    "rabbitmq": "SECKILL_TEST_RABBITMQ_URL"}[name]
        return self.services.named(name).variables()[variable]

    def variables(self):
        every = {}
        for name in ("postgres", "redis", "rabbitmq"):
            every.update(self.services.named(name).variables())
        return every

    def processes(self):
        """NAME=PID of each, for the generator to count."""
        return [f"{name}={self.services.named(name).state['pid']}" for name in ("postgres", "redis", "rabbitmq")]

    def shared_settings(self):
        """What every node's settings have in common."""
        return {"internal.token": self.token, "order.token_secret": self.secret}

    def new_store(self):
        """Settings of an empty store of its own."""
        self.stores += 1
        name = f"bench_{self.stores}"
        psql = os.path.join(newest_postgres(), "psql")
        subprocess.run([psql, self.url("postgres"), "-qc", f"CREATE DATABASE {name}"], check=True,
                       stdin=subprocess.DEVNULL)
        rabbitmq = self.services.named("rabbitmq")
        request = urllib.request.Request(f"{rabbitmq.management_url()}/api/vhosts/{name}", method="PUT")
        request.add_header("Authorization", "Basic " + basic(f"seckill:{rabbitmq.state['password']}"))
        urllib.request.urlopen(request, timeout=30).close()
        return {
            "database.url": self.url("postgres").rsplit("/", 1)[0] + f"/{name}",
            "redis.url": f"{self.url('redis')}/{self.stores}",
            "rabbitmq.url": f"{self.url('rabbitmq')}/{name}",
        }

    def close(self):
        self.services.down()
        shutil.rmtree(self.directory, ignore_errors=True)
