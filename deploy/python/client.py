"""A client of a coordinator, of nothing but its .proto files: submits a job, watches it, and cancels it.

    client.py ADDRESS CA_FILE TOKEN_FILE

Imports what `client.sh` generated; a job that no node can take waits, so that there is something to cancel.
"""

import sys
import uuid

import grpc
from google.protobuf import json_format

from kindred.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

TIMEOUT_S = 30

JOB = {
    "name": "from-python",
    "ranks": 1,
    "recipe": {
        "data": {"fashion_mnist": {}},
        "encoder": {"resnet": {"depth": 18, "stem": "STEM_CIFAR"}},
        "method": {"sce": {}},
        "optimizer": {"sgd": {"lr": 0.06}},
        "training": {"epochs": 1, "global_batch": 32},
    },
}


def connect(address, ca_file, token_file):
    with open(ca_file, "rb") as file:
        tls = grpc.ssl_channel_credentials(file.read())
    with open(token_file) as file:
        token = grpc.access_token_call_credentials(file.read().strip())
    channel = grpc.secure_channel(address, grpc.composite_channel_credentials(tls, token))
    grpc.channel_ready_future(channel).result(timeout=TIMEOUT_S)
    return channel


def main(address, ca_file, token_file):
    jobs = job_service_pb2_grpc.JobServiceStub(connect(address, ca_file, token_file))
    spec = json_format.ParseDict(JOB, job_pb2.JobSpec())
    create = job_service_pb2.CreateJobRequest(spec=spec, request_id=str(uuid.uuid4()))
    job = jobs.CreateJob(create, timeout=TIMEOUT_S).job
    assert jobs.CreateJob(create, timeout=TIMEOUT_S).job.id == job.id, "a repeated request made another job"
    print("submitted", job.id)

    mine = job_service_pb2.ListJobsRequest(filter=f'id = {job.id} AND name = "from-python"', order_by="create_time")
    listed = jobs.ListJobs(mine, timeout=TIMEOUT_S).jobs
    assert [each.id for each in listed] == [job.id], listed

    states = []
    for answer in jobs.WatchJob(job_service_pb2.WatchJobRequest(job_id=job.id), timeout=TIMEOUT_S):
        state = job_pb2.JobState.Name(answer.job.state)
        print("is", state, "-", answer.job.reason)
        if not states:
            cancel = job_service_pb2.CancelJobRequest(job_id=job.id, reason="seen enough")
            jobs.CancelJob(cancel, timeout=TIMEOUT_S)
        states.append(state)
    assert states[-1] == "JOB_STATE_CANCELLED", states

    try:
        jobs.GetJob(job_service_pb2.GetJobRequest(job_id="job-99"), timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    else:
        raise AssertionError("there is no job-99")
    print("a client of the .proto files alone submits, watches and cancels")


if __name__ == "__main__":
    main(*sys.argv[1:])
