"""S3 as moto has it, with signatures verified. Prints where it is and a key for it, then answers lines on stdin with one line each:
`list` is every object by name, as JSON."""

import json
import os
import sys

os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "4"

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
first = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "us-east-1", "endpoint_url": url}
boto3.client("s3", **first).create_bucket(Bucket="logs")
iam = boto3.client("iam", **first)
iam.create_user(UserName="gate")
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="gate", PolicyName="logs", PolicyDocument=json.dumps(everything))
key = iam.create_access_key(UserName="gate")["AccessKey"]
own = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
s3 = boto3.client("s3", **{**first, **own}, config=Config(s3={"addressing_style": "path"}))
print(json.dumps({"url": url, "access_key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)

for line in sys.stdin:
    names = [found["Key"] for found in s3.list_objects_v2(Bucket="logs").get("Contents", [])]
    objects = {name: s3.get_object(Bucket="logs", Key=name)["Body"].read().decode() for name in names}
    print(json.dumps(objects), flush=True)
