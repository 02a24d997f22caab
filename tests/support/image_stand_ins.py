"""Images made from Debian's packages where no registry is reached, named as the public ones."""

from __future__ import annotations

import json
import subprocess
from typing import Final

_APT: Final = (
    "FROM {base}\nUSER root\n"
    "RUN apt-get update -q && apt-get install -y -q --no-install-recommends {packages}"
    " && rm -rf /var/lib/apt/lists/*{more}\n"
)
_PYTHON: Final = "python:3.13-slim-trixie"
_POSTGRES_START: Final = """
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" -A scram-sha-256
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  printf "create database %s;" "$POSTGRES_USER" | postgres --single -D "$PGDATA" postgres
fi
exec "$@" -c listen_addresses='*'
"""
"""What the public image's entry point does, as far as the stack needs it."""

_RECIPES: Final = {
    "prom/alertmanager": _APT.format(
        base="prom/prometheus:v3",
        packages="prometheus-alertmanager",
        more=" && mkdir -p /alertmanager && chown nobody /alertmanager",
    )
    + 'USER nobody\nENTRYPOINT ["/usr/bin/prometheus-alertmanager"]\n',
    "nats": _APT.format(base=_PYTHON, packages="nats-server wget", more="")
    + 'ENTRYPOINT ["/usr/sbin/nats-server"]\n',
    "postgres": _APT.format(
        base=_PYTHON,
        packages="postgresql-17",
        # Both folders are anybody's in the public image, which runs as any user.
        more=" && mkdir -m 1777 -p /var/lib/postgresql/data && chmod 3777 /run/postgresql"
        " && useradd -u 10001 stack",
    )
    + "ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin:/bin\n"
    + f"ENTRYPOINT {json.dumps(['/bin/sh', '-euc', _POSTGRES_START, 'start'])}\n",
}


def is_stand_in(image: str) -> bool:
    """Whether the engine holds this image without ever having pulled it from a registry."""
    command = ["docker", "image", "inspect", "--format", "{{len .RepoDigests}}", image]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == "0"


def make_stand_ins(images: list[str]) -> None:
    """Make those that have a recipe and are missing; raise CalledProcessError when one fails."""
    for image in images:
        recipe = _RECIPES.get(image.partition(":")[0])
        if recipe is None or is_stand_in(image):
            continue
        command = ["docker", "build", "-q", "--network", "host", "-t", image, "-"]
        subprocess.run(command, input=recipe, text=True, check=True, capture_output=True)
