"""botocore's models of DynamoDB and SSM, cut down to the calls that the consumer makes.

Reading the whole ones takes 14 ms of a cold start for 200 operations that are never called. What is sent to DynamoDB is
made elsewhere, so only its answers are described here. A test holds every fact to botocore's own files.
"""

from __future__ import annotations

from typing import Any

Model = dict[str, Any]


def _structure(**members: str) -> Model:
    return {"type": "structure", "members": {name: {"shape": shape} for name, shape in members.items()}}


def _list(member: str) -> Model:
    return {"type": "list", "member": {"shape": member}}


def _map(key: str, value: str) -> Model:
    return {"type": "map", "key": {"shape": key}, "value": {"shape": value}}


def _operation(name: str, output: str, **more: Any) -> Model:
    return {"name": name, "http": {"method": "POST", "requestUri": "/"}, "output": {"shape": output}, **more}


_STRING: Model = {"type": "string"}
_BOOLEAN: Model = {"type": "boolean"}

SSM: Model = {
    "version": "2.0",
    "metadata": {
        "apiVersion": "2014-11-06",
        "auth": ["aws.auth#sigv4"],
        "endpointPrefix": "ssm",
        "jsonVersion": "1.1",
        "protocol": "json",
        "protocols": ["json"],
        "serviceFullName": "Amazon Simple Systems Manager (SSM)",
        "serviceId": "SSM",
        "signatureVersion": "v4",
        "targetPrefix": "AmazonSSM",
        "uid": "ssm-2014-11-06",
    },
    "operations": {
        "GetParameters": _operation("GetParameters", "GetParametersResult", input={"shape": "GetParametersRequest"})
    },
    "shapes": {
        "GetParametersRequest": _structure(Names="ParameterNameList", WithDecryption="Boolean"),
        "GetParametersResult": _structure(Parameters="ParameterList"),
        "ParameterNameList": _list("PSParameterName"),
        "ParameterList": _list("Parameter"),
        "Parameter": _structure(Name="PSParameterName", Value="PSParameterValue"),
        "PSParameterName": _STRING,
        "PSParameterValue": {"type": "string", "sensitive": True},
        "Boolean": _BOOLEAN,
    },
}

DYNAMODB: Model = {
    "version": "2.0",
    "metadata": {
        "apiVersion": "2012-08-10",
        "auth": ["aws.auth#sigv4"],
        "endpointPrefix": "dynamodb",
        "jsonVersion": "1.0",
        "protocol": "json",
        "protocols": ["json"],
        "serviceFullName": "Amazon DynamoDB",
        "serviceId": "DynamoDB",
        "signatureVersion": "v4",
        "targetPrefix": "DynamoDB_20120810",
        "uid": "dynamodb-2012-08-10",
    },
    "operations": {
        "BatchExecuteStatement": _operation("BatchExecuteStatement", "BatchExecuteStatementOutput"),
        "BatchGetItem": _operation("BatchGetItem", "BatchGetItemOutput"),
        "TransactWriteItems": _operation(
            "TransactWriteItems", "TransactWriteItemsOutput", errors=[{"shape": "TransactionCanceledException"}]
        ),
    },
    "shapes": {
        "BatchExecuteStatementOutput": _structure(
            Responses="PartiQLBatchResponse", ConsumedCapacity="ConsumedCapacityMultiple"
        ),
        "PartiQLBatchResponse": _list("BatchStatementResponse"),
        "BatchStatementResponse": _structure(Error="BatchStatementError"),
        "BatchStatementError": _structure(Code="BatchStatementErrorCodeEnum", Message="String", Item="AttributeMap"),
        "BatchStatementErrorCodeEnum": _STRING,
        "BatchGetItemOutput": _structure(Responses="BatchGetResponseMap", UnprocessedKeys="BatchGetRequestMap"),
        "BatchGetResponseMap": _map("TableArn", "ItemList"),
        "BatchGetRequestMap": _map("TableArn", "KeysAndAttributes"),
        "KeysAndAttributes": _structure(Keys="KeyList"),
        "KeyList": _list("Key"),
        "Key": _map("AttributeName", "AttributeValue"),
        "ItemList": _list("AttributeMap"),
        "TransactWriteItemsOutput": _structure(ConsumedCapacity="ConsumedCapacityMultiple"),
        "TransactionCanceledException": {
            **_structure(Message="ErrorMessage", CancellationReasons="CancellationReasonList"),
            "exception": True,
        },
        "CancellationReasonList": _list("CancellationReason"),
        "CancellationReason": _structure(Item="AttributeMap", Code="Code", Message="ErrorMessage"),
        "ConsumedCapacityMultiple": _list("ConsumedCapacity"),
        "ConsumedCapacity": _structure(TableName="TableArn", CapacityUnits="ConsumedCapacityUnits"),
        "ConsumedCapacityUnits": {"type": "double"},
        "AttributeMap": _map("AttributeName", "AttributeValue"),
        "AttributeValue": _structure(
            S="StringAttributeValue",
            N="NumberAttributeValue",
            B="BinaryAttributeValue",
            SS="StringSetAttributeValue",
            NS="NumberSetAttributeValue",
            BS="BinarySetAttributeValue",
            M="MapAttributeValue",
            L="ListAttributeValue",
            NULL="NullAttributeValue",
            BOOL="BooleanAttributeValue",
        ),
        "StringAttributeValue": _STRING,
        "NumberAttributeValue": _STRING,
        "BinaryAttributeValue": {"type": "blob"},
        "StringSetAttributeValue": _list("StringAttributeValue"),
        "NumberSetAttributeValue": _list("NumberAttributeValue"),
        "BinarySetAttributeValue": _list("BinaryAttributeValue"),
        "MapAttributeValue": _map("AttributeName", "AttributeValue"),
        "ListAttributeValue": _list("AttributeValue"),
        "NullAttributeValue": _BOOLEAN,
        "BooleanAttributeValue": _BOOLEAN,
        "AttributeName": _STRING,
        "Code": _STRING,
        "ErrorMessage": _STRING,
        "String": _STRING,
        "TableArn": _STRING,
    },
}

BY_SERVICE = {"dynamodb": DYNAMODB, "ssm": SSM}
