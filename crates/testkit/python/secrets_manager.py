"""AWS Secrets Manager as moto has it, with signatures verified. Prints where it is and a key for it, then answers lines of JSON on stdin
with one line each: `{"put": NAME, "text": TEXT}` sets a secret, `{"delete": NAME}` marks it for deletion."""

import json
import os
import sys

os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "3"

import boto3  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
first = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "eu-central-1", "endpoint_url": url}
iam = boto3.client("iam", **first)
iam.create_user(UserName="gate")
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}]}
iam.put_user_policy(UserName="gate", PolicyName="secrets", PolicyDocument=json.dumps(everything))
key = iam.create_access_key(UserName="gate")["AccessKey"]
own = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
secrets = boto3.client("secretsmanager", **{**first, **own})
print(json.dumps({"url": url, "access_key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)

for line in sys.stdin:
    what = json.loads(line)
    if "delete" in what:
        secrets.delete_secret(SecretId=what["delete"], RecoveryWindowInDays=7)
    else:
        try:
            secrets.put_secret_value(SecretId=what["put"], SecretString=what["text"])
        except secrets.exceptions.ResourceNotFoundException:
            secrets.create_secret(Name=what["put"], SecretString=what["text"])
    print(json.dumps({"done": what}), flush=True)
