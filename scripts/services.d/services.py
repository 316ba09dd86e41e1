"""Private PostgreSQL, Redis and RabbitMQ instances; see scripts/services."""

import argparse
import base64
import contextlib
import glob
import json
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

START_SECONDS = 90
STOP_SECONDS = 30
# Each test of the contract suites and of the HTTP suite in cluster mode has a Redis database of its own.
REDIS_DATABASES = 4096
REDIS_CLUSTER_NODES = 3
# RabbitMQ's Erlang port mapper is a daemon that outlives its node; it is stopped by its port.
RABBITMQ_BIN = "/usr/lib/rabbitmq/bin"


class Failed(Exception):
    """A service did not do what it must."""


class Instance:
    """One server process with a folder, a log, a port, and the system user it runs as."""

    name = ""
    user = ""

    def __init__(self, folder, state):
        self.folder = os.path.join(folder, self.name)
        self.state = state

    # What each kind says

    def prepare(self):
        """Makes data and configuration, once."""

    def command(self):
        """(arguments, environment) of the server in the foreground."""
        raise NotImplementedError

    def is_ready(self):
        raise NotImplementedError

    def variables(self):
        """What FOLDER/env says of it."""
        return {}

    def clean_up(self):
        """What outlives the server itself."""

    # What all share

    def make(self):
        os.makedirs(self.folder, exist_ok=True)
        self.own(self.folder)
        self.state.setdefault("port", free_port())
        self.state.setdefault("password", secrets.token_hex(12))
        self.prepare()

    def own(self, path):
        if os.getuid() == 0:
            account = pwd.getpwnam(self.user)
            os.chown(path, account.pw_uid, account.pw_gid)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o600)
        self.own(path)
        return path

    def as_user(self):
        if os.getuid() != 0:
            return {}
        account = pwd.getpwnam(self.user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def run(self, command, **more):
        more = {**self.as_user(), **more}
        return subprocess.run(command, cwd=self.folder, check=True, stdin=subprocess.DEVNULL, **more)

    def start(self):
        command, environment = self.command()
        with open(os.path.join(self.folder, "out.log"), "ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **environment}, start_new_session=True, **self.as_user(),
            )
        self.state["pid"] = process.pid
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if process.poll() is not None:
                raise Failed(f"{self.name} ended with status {process.returncode}:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} was not ready within {START_SECONDS} s:\n{self.last_words()}")
            time.sleep(0.1)

    def last_words(self):
        with open(os.path.join(self.folder, "out.log"), encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-20:])

    def signal(self, number):
        """To the whole group: the server and its helpers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.state["pid"], number)

    def is_alive(self):
        if "pid" not in self.state:
            return False
        reap(self.state["pid"])
        return any(group == self.state["pid"] for _, group in running())

    def stop(self):
        if self.is_alive():
            self.signal(signal.SIGCONT)
            self.ask_to_stop()
            deadline = time.monotonic() + STOP_SECONDS
            while self.is_alive() and time.monotonic() < deadline:
                time.sleep(0.05)
            self.signal(signal.SIGKILL)
        self.clean_up()

    def ask_to_stop(self):
        self.signal(signal.SIGTERM)


class Postgres(Instance):
    name = "postgres"
    user = "postgres"

    def bin(self, program):
        return os.path.join(newest_postgres(), program)

    def prepare(self):
        data = os.path.join(self.folder, "data")
        if os.path.exists(data):
            return
        secret = self.write("password", self.state["password"] + "\n")
        self.run([self.bin("initdb"), "-D", data, "-U", "seckill", "--pwfile", secret, "--auth=scram-sha-256",
                  "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"], stdout=subprocess.DEVNULL)
        os.remove(secret)

    def command(self):
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.state["port"], "unix_socket_directories": "",
            "max_connections": 300, "shared_buffers": "256MB", "max_wal_size": "2GB", "max_prepared_transactions": 0,
        }
        data = os.path.join(self.folder, "data")
        remove_stale_lock(os.path.join(data, "postmaster.pid"))
        arguments = [self.bin("postgres"), "-D", data]
        for key, value in settings.items():
            arguments += ["-c", f"{key}={value}"]
        return arguments, {}

    def is_ready(self):
        run = subprocess.run([self.bin("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.state["port"])], check=False)
        return run.returncode == 0

    def url(self):
        return f"postgres://seckill:{self.state['password']}@127.0.0.1:{self.state['port']}/postgres"

    def variables(self):
        return {"SECKILL_TEST_DATABASE_URL": self.url()}

    def ask_to_stop(self):
        # The fast way: end the sessions, write a checkpoint.
        self.signal(signal.SIGINT)


class Redis(Instance):
    name = "redis"
    user = "redis"

    def settings(self):
        return {
            "bind": "127.0.0.1", "port": self.state["port"], "dir": self.folder, "databases": REDIS_DATABASES,
            "save": '""', "appendonly": "yes", "appendfsync": "everysec", "requirepass": self.state["password"],
            "maxclients": 2000,
        }

    def prepare(self):
        self.write("redis.conf", "".join(f"{key} {value}\n" for key, value in self.settings().items()))

    def command(self):
        return ["redis-server", os.path.join(self.folder, "redis.conf")], {}

    def is_ready(self):
        return self.ask("PING") == b"+PONG\r\n"

    def ask(self, command):
        try:
            with socket.create_connection(("127.0.0.1", self.state["port"]), 2) as link:
                link.settimeout(2)
                link.sendall(f"AUTH {self.state['password']}\r\n".encode())
                if not link.recv(256).startswith(b"+OK"):
                    return None
                link.sendall(f"{command}\r\n".encode())
                return link.recv(65536)
        except OSError:
            return None

    def url(self):
        return f"redis://:{self.state['password']}@127.0.0.1:{self.state['port']}"

    def variables(self):
        return {"SECKILL_TEST_REDIS_URL": self.url()}


class RedisClusterNode(Redis):
    """One of three masters; together they make a cluster."""

    def __init__(self, folder, state, number):
        self.name = f"redis-cluster-{number}"
        super().__init__(folder, state)

    def settings(self):
        bus = self.state.setdefault("bus_port", free_port())
        cluster = {"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "cluster-node-timeout": 5000,
                   "cluster-port": bus, "databases": 1, "masterauth": self.state["password"]}
        return {**super().settings(), **cluster}


class RabbitMq(Instance):
    name = "rabbitmq"
    user = "rabbitmq"

    def prepare(self):
        for key in ("distribution_port", "management_port", "epmd_port"):
            self.state.setdefault(key, free_port())
        self.write("enabled_plugins", "[rabbitmq_management].\n")
        self.write("rabbitmq.conf", "\n".join([
            f"listeners.tcp.local = 127.0.0.1:{self.state['port']}",
            f"management.tcp.port = {self.state['management_port']}",
            "management.tcp.ip = 127.0.0.1",
            "default_user = seckill",
            f"default_pass = {self.state['password']}",
            "default_permissions.configure = .*",
            "default_permissions.read = .*",
            "default_permissions.write = .*",
            "disk_free_limit.absolute = 50MB",
            "log.console.level = warning",
            "log.file = false",
            "log.console = true",
        ]) + "\n")

    def environment(self):
        return {
            "HOME": self.folder,
            "ERL_EPMD_PORT": str(self.state["epmd_port"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"seckill-{self.state['port']}@localhost",
            "RABBITMQ_DIST_PORT": str(self.state["distribution_port"]),
            "RABBITMQ_MNESIA_BASE": os.path.join(self.folder, "mnesia"),
            "RABBITMQ_LOG_BASE": os.path.join(self.folder, "log"),
            "RABBITMQ_CONFIG_FILE": os.path.join(self.folder, "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": os.path.join(self.folder, "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.path.join(self.folder, "none"),
            "RABBITMQ_GENERATED_CONFIG_DIR": os.path.join(self.folder, "generated"),
            # Schedulers that spin while they wait would take the two cores from what is tested.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def command(self):
        return [os.path.join(RABBITMQ_BIN, "rabbitmq-server")], self.environment()

    def management_url(self):
        return f"http://127.0.0.1:{self.state['management_port']}"

    def is_ready(self):
        request = urllib.request.Request(f"{self.management_url()}/api/overview")
        token = basic(f"seckill:{self.state['password']}")
        request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                if answer.status != 200:
                    return False
            with socket.create_connection(("127.0.0.1", self.state["port"]), 2):
                return True
        except (OSError, urllib.error.URLError):
            return False

    def variables(self):
        credentials = f"seckill:{self.state['password']}"
        return {
            "SECKILL_TEST_RABBITMQ_URL": f"amqp://{credentials}@127.0.0.1:{self.state['port']}",
            "SECKILL_TEST_RABBITMQ_MANAGEMENT_URL": f"http://{credentials}@127.0.0.1:{self.state['management_port']}",
        }

    def clean_up(self):
        environment = {**os.environ, **self.environment()}
        for _ in range(20):
            run = subprocess.run(["epmd", "-port", str(self.state["epmd_port"]), "-kill"], env=environment,
                                 capture_output=True, check=False)
            if b"Killed" in run.stdout + run.stderr or b"Cannot connect" in run.stdout + run.stderr:
                return
            time.sleep(0.2)


class Services:
    """Everything in one folder; what is known of it stands in FOLDER/state.json."""

    def __init__(self, folder, with_cluster=None):
        self.folder = os.path.abspath(folder)
        self.state_path = os.path.join(self.folder, "state.json")
        self.state = self.load(with_cluster)
        nodes = range(REDIS_CLUSTER_NODES) if self.state["with_cluster"] else []
        self.cluster = [RedisClusterNode(self.folder, self.of(f"redis-cluster-{number}"), number) for number in nodes]
        main = [kind(self.folder, self.of(kind.name)) for kind in (RabbitMq, Postgres, Redis)]
        self.instances = [*main, *self.cluster]

    def load(self, with_cluster):
        try:
            with open(self.state_path, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            if with_cluster is None:
                raise Failed(f"{self.folder} holds no services") from None
            return {"with_cluster": with_cluster}

    def of(self, name):
        return self.state.setdefault(name, {})

    def save(self):
        with open(self.state_path, "w", encoding="utf-8") as file:
            json.dump(self.state, file, indent=2)
        os.chmod(self.state_path, 0o600)

    def named(self, name):
        for instance in self.instances:
            if instance.name == name:
                return instance
        raise Failed(f"no service {name}: one of {', '.join(instance.name for instance in self.instances)}")

    def up(self):
        os.makedirs(self.folder, exist_ok=True)
        # The services' own users must be able to come in.
        os.chmod(self.folder, 0o711)
        password = secrets.token_hex(12)
        for node in self.cluster:
            node.state.setdefault("password", password)
        for instance in self.instances:
            instance.make()
            self.save()
        try:
            for instance in self.instances:
                if not instance.is_alive():
                    instance.start()
                self.save()
            self.join_cluster()
        except BaseException:
            self.stop()
            raise
        self.write_env()

    def join_cluster(self):
        if all(self.knows_all_nodes(node) for node in self.cluster):
            return
        addresses = [f"127.0.0.1:{node.state['port']}" for node in self.cluster]
        environment = {**os.environ, "REDISCLI_AUTH": self.cluster[0].state["password"]}
        subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], env=environment, check=True,
                       stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not all(self.knows_all_nodes(node) for node in self.cluster):
            if time.monotonic() > deadline:
                raise Failed("the Redis Cluster did not come together")
            time.sleep(0.1)

    @staticmethod
    def knows_all_nodes(node):
        facts = node.ask("CLUSTER INFO") or b""
        return b"cluster_state:ok" in facts and f"cluster_size:{REDIS_CLUSTER_NODES}".encode() in facts

    def write_env(self):
        variables = {}
        for instance in self.instances:
            if instance not in self.cluster:
                variables.update(instance.variables())
        if self.cluster:
            variables["SECKILL_TEST_REDIS_CLUSTER_URLS"] = ",".join(node.url() for node in self.cluster)
        path = os.path.join(self.folder, "env")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"export {key}='{value}'\n" for key, value in variables.items())
        os.chmod(path, 0o600)

    def stop(self):
        for instance in reversed(self.instances):
            instance.stop()

    def down(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_stale_lock(path):
    """PostgreSQL takes a killed server that nobody waited for to be alive; where process 1 waits for nobody it would
    never start again."""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
        if int(file.readline()) not in [process for process, _ in running()]:
            os.remove(path)


def newest_postgres():
    folders = [os.path.dirname(path) for path in glob.glob("/usr/lib/postgresql/*/bin/postgres")]
    if not folders:
        raise Failed("PostgreSQL is not installed")
    return max(folders, key=lambda folder: int(folder.split("/")[-2]))


def basic(credentials):
    return base64.b64encode(credentials.encode()).decode()


def reap(pid):
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def running():
    """(process, process group) of everything that runs. A process that ended and that nobody waited for does not."""
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            process, rest = file.read().split(" (", 1)
            state, _, group = rest.rsplit(") ", 1)[1].split()[:3]
            if state != "Z":
                yield int(process), int(group)


def free_port():
    """Outside of the range from which outgoing connections take theirs."""
    for _ in range(200):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failed("no free port")


def main():
    parser = argparse.ArgumentParser(prog="scripts/services", description="Private PostgreSQL, Redis and RabbitMQ.")
    commands = parser.add_subparsers(dest="what", required=True)
    up = commands.add_parser("up")
    up.add_argument("folder")
    up.add_argument("--redis-cluster", action="store_true", help="three Redis masters as a cluster besides")
    commands.add_parser("down").add_argument("folder")
    one = commands.add_parser("signal")
    one.add_argument("folder")
    one.add_argument("name")
    one.add_argument("signal")
    again = commands.add_parser("start")
    again.add_argument("folder")
    again.add_argument("name")
    chosen = parser.parse_args()
    try:
        if chosen.what == "up":
            Services(chosen.folder, chosen.redis_cluster).up()
        elif chosen.what == "down":
            Services(chosen.folder).down()
        elif chosen.what == "signal":
            Services(chosen.folder).named(chosen.name).signal(getattr(signal, f"SIG{chosen.signal.upper()}"))
        else:
            services = Services(chosen.folder)
            services.named(chosen.name).start()
            services.save()
    except Failed as error:
        sys.exit(f"scripts/services: {error}")


if __name__ == "__main__":
    main()
