"""The least that a function in Python can be that speaks to AWS and to HTTP: it imports what it needs, then asks for events."""

import http.client
import os

import boto3
import requests

assert boto3 and requests
runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    runtime.request("GET", "/2018-06-01/runtime/invocation/next")
    event = runtime.getresponse()
    payload, request_id = event.read(), event.headers["Lambda-Runtime-Aws-Request-Id"]
    runtime.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", body=payload)
    runtime.getresponse().read()
