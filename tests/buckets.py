"""An S3 store of the tests' own, in a process of its own: moto, told to check every request's signature with botocore.

`python tests/buckets.py` serves one until its standard input ends; it says in a line where it is and with which keys.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ADMINISTER = 5  # actions that need no key: those of `_make`
_REGION = "eu-north-1"


class S3:
    """Where it is; `source` names its bucket and a prefix of one's own, `environment` has the keys."""

    def __init__(self, said: dict[str, str]) -> None:
        self.endpoint = said["endpoint"]
        self.environment = {"AWS_ACCESS_KEY_ID": said["id"], "AWS_SECRET_ACCESS_KEY": said["secret"]}
        self._used = 0

    def source(self) -> str:
        """A place where nothing is yet."""
        self._used += 1
        return f"s3://media/of test {self._used}+ä?endpoint={self.endpoint}&region={_REGION}"


@contextmanager
def s3() -> Iterator[S3]:
    """A store as long as the block lasts."""
    environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(_ADMINISTER)}
    command = [sys.executable, str(Path(__file__))]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        line = process.stdout.readline()
        assert line, "the store did not start"
        try:
            yield S3(json.loads(line))
        finally:
            process.stdin.close()


def _make(endpoint: str) -> dict[str, str]:
    import boto3

    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": _REGION}
    iam = boto3.client("iam", endpoint_url=endpoint, **keys)
    iam.create_user(UserName="antiphon")
    made = iam.create_access_key(UserName="antiphon")["AccessKey"]
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="antiphon", PolicyName="media", PolicyDocument=policy)
    store = boto3.client("s3", endpoint_url=endpoint, **keys)
    store.create_bucket(Bucket="media", CreateBucketConfiguration={"LocationConstraint": _REGION})
    store.put_bucket_versioning(Bucket="media", VersioningConfiguration={"Status": "Suspended"})
    return {"endpoint": endpoint, "id": made["AccessKeyId"], "secret": made["SecretAccessKey"]}


def _serve() -> None:
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(json.dumps(_make(f"http://{host}:{port}")), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    _serve()
