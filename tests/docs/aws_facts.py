"""What Weir relies on AWS for, one behaviour a row: what AWS does, who says so, and which check would show it.

``where`` is given only where a page says several things; otherwise the files are those whose `Source:` line names the
page (``tests/docs/aws_sources.py``). ``scenarios`` are names of tests/conformance.
"""

# ruff: noqa: E501 - prose is easier to read and change in one line
from __future__ import annotations

from dataclasses import dataclass

AG = "https://docs.aws.amazon.com/apigateway/latest/developerguide/"
CFN = "https://docs.aws.amazon.com/AWSCloudFormation/latest/"
DDB = "https://docs.aws.amazon.com/amazondynamodb/latest/"
FIREHOSE = "https://docs.aws.amazon.com/firehose/latest/dev/"
KINESIS = "https://docs.aws.amazon.com/streams/latest/dev/"
KINESIS_API = "https://docs.aws.amazon.com/kinesis/latest/APIReference/"
LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/"
LAMBDA_API = "https://docs.aws.amazon.com/lambda/latest/api/"
SSM = "https://docs.aws.amazon.com/systems-manager/latest/"
CLOUDWATCH = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/"

DOCUMENTED = "documented"
UNKNOWN = "unknown"
_LOCALSTACK_TESTS = "https://github.com/localstack/localstack/tree/v4.14.0/tests/aws/services/"


def seen(link: str, by: str) -> str:
    """Say that others have seen it on AWS."""
    return f"seen by others: [{by}]({link})"


@dataclass(frozen=True)
class Behaviour:
    """One behaviour. ``page`` is AWS's page, or the nearest one where AWS does not say it."""

    says: str
    page: str
    where: tuple[str, ...] = ()
    known: str = DOCUMENTED
    scenarios: tuple[str, ...] = ()


_TEMPLATE = "infra/template.yaml"
_RESTORE, _SECOND = "docs/restore.md", "docs/second-region.md"
_OPENAPI = "ingest/contract/openapi.yaml"
_VTL = "ingest/contract/put_record.vtl"
_LIMITS = AG + "api-gateway-execution-service-limits-table.html"
_VELOCITY = AG + "api-gateway-mapping-template-reference.html"
_BODIES = AG + "api-gateway-payload-encodings-workflow.html"
_TYPES = AG + "integration-passthrough-behaviors.html"
_DESTINATION = LAMBDA + "kinesis-on-failure-destination.html"
_STREAM_LIMITS = KINESIS + "service-sizes-and-limits.html"

DOOR = [
    Behaviour(
        "A body of a type in binaryMediaTypes reaches the template as base64 with CONVERT_TO_TEXT, byte for byte.",
        _BODIES,
        (_OPENAPI, _VTL),
        scenarios=("binary body as text", "form body unchanged"),
    ),
    Behaviour(
        "With `*/*` in binaryMediaTypes every type is binary.",
        AG + "api-gateway-payload-encodings.html",
        (_OPENAPI,),
        scenarios=("every type is binary",),
    ),
    Behaviour(
        "Under `*/*` a request without a Content-Type is binary, too.",
        _BODIES,
        (_OPENAPI,),
        seen("https://github.com/clebert/aws-simple/issues/167", "a log of API Gateway"),
        ("bytes without content type",),
    ),
    Behaviour(
        "Under `*/*` a mock's answer with a template needs `contentHandling: CONVERT_TO_TEXT` on the integration response, or it is 500.",
        _BODIES,
        (_OPENAPI, "infra/local/gateway/parameter_mapping.py"),
        seen("https://github.com/serverless/serverless/pull/11010", "serverless/serverless, on AWS"),
        ("answer converted to text", "answer without content handling"),
    ),
    Behaviour(
        "Parameters of a Content-Type are left out when a template is chosen; none at all is application/json.",
        AG + "request-response-data-mappings.html#selecting-mapping-templates",
        (_OPENAPI, "infra/local/gateway/definition.py"),
        scenarios=("content type with parameters", "no content type"),
    ),
    Behaviour(
        "With passthroughBehavior NEVER a Content-Type without a template is 415, and its body goes nowhere.",
        _TYPES,
        (_OPENAPI,),
        scenarios=("unlisted type with never",),
    ),
    Behaviour(
        "An empty body renders as `{}`.",
        _VELOCITY,
        ("ingest/envelope.py", "infra/local/vtl/input.py"),
        seen(_LOCALSTACK_TESTS + "apigateway/test_apigateway_common.py", "LocalStack's tests against AWS, 2025-03-19"),
        ("empty body",),
    ),
    Behaviour(
        "`$input`, `$util`, `$context` and `$stageVariables` have what the reference lists, and nothing else.",
        _VELOCITY,
        ("infra/local/vtl/__init__.py", "infra/local/vtl/input.py", "infra/local/vtl/names.py", _VTL),
        scenarios=("header loop", "stage variables", "parts of a json body", "functions of other services"),
    ),
    Behaviour(
        "`$input.params(x)` looks at path, query and headers in this order, so Weir reads each from its own map.",
        _VELOCITY,
        (_VTL,),
        scenarios=("header shadowed by query",),
    ),
    Behaviour(
        "`$input.params()` can be read in a response template. AWS shows it for request templates only.",
        _VELOCITY,
        (_OPENAPI, "ingest/contract/routes.py", "ingest/contract/sharing.py"),
        seen(
            "https://github.com/serverless/serverless/issues/10254",
            "the CORS answers of serverless/serverless, deployed on AWS",
        ),
    ),
    Behaviour(
        "`#foreach` may stand inside a string literal. It is legal Velocity; no deployed API with it was found.",
        AG + "models-mappings.html",
        (_VTL,),
        UNKNOWN,
        ("header loop",),
    ),
    Behaviour(
        "Of a repeated header a template sees one value; which one is not said.",
        _VELOCITY,
        ("infra/local/gateway/request.py",),
        UNKNOWN,
        ("repeated header",),
    ),
    Behaviour(
        "Whether header names of a request over HTTP/2 reach a template in lower case is not said. Weir compares names without regard to case.",
        AG + "api-gateway-known-issues.html",
        (_VTL, "ingest/envelope.py"),
        UNKNOWN,
        ("case of header names",),
    ),
    Behaviour(
        "Parameters arrive URL-decoded, and `;` separates parameters of a query.",
        AG + "api-gateway-known-issues.html",
        ("infra/local/gateway/request.py",),
        scenarios=("parameters are decoded",),
    ),
    Behaviour(
        "A payload may have 10 MB, the headers 10,240 bytes, a URL 10,240 characters, a template 300 KB and 1,000 turns of `#foreach`, an access log line 3 KB, an imported definition 6 MB and 300 resources.",
        _LIMITS,
        scenarios=("more than 10 mb", "more than 10240 bytes of headers"),
    ),
    Behaviour(
        "How a body of 5.6 to 10 MB is answered, which the template makes longer than 10 MB, is not said: 413, or a 500 that Weir turns into 503.",
        _LIMITS,
        (_VTL,),
        UNKNOWN,
    ),
    Behaviour(
        "A body compressed by gzip or deflate is decompressed before the template; another Content-Encoding is 415.",
        AG + "api-gateway-make-request-with-compressed-payload.html",
        scenarios=("gzip request", "unsupported content encoding"),
    ),
    Behaviour(
        "A caller may choose `$context.requestId`, and not `$context.extendedRequestId`, which is Weir's id of a delivery.",
        AG + "set-up-logging.html",
        ("infra/local/gateway/exchange.py", _VTL),
        scenarios=("ids and time",),
    ),
    Behaviour(
        "A path or method that the API does not have is 403 MISSING_AUTHENTICATION_TOKEN, which a gateway response may turn into 404.",
        AG + "supported-gateway-response-types.html",
        ("infra/local/gateway/responses.py", _OPENAPI),
        scenarios=("unknown path and method", "gateway response"),
    ),
    Behaviour(
        "A gateway response's template is filled in by plain substitution of its variables.",
        AG + "api-gateway-gatewayResponse-definition.html",
        scenarios=("gateway response",),
    ),
    Behaviour("The answer 413 cannot be changed.", AG + "api-gateway-known-issues.html", (_OPENAPI,)),
    Behaviour(
        "A method that is named goes before ANY, and a path that is named before a variable one.",
        AG + "api-gateway-method-settings-method-request.html",
        scenarios=("mock integration",),
    ),
    Behaviour(
        "An OpenAPI document defines an API whole: its integrations, answers, variables and binary types are extensions of OpenAPI.",
        AG + "api-gateway-swagger-extensions.html",
    ),
    Behaviour(
        "A mock integration answers by the `statusCode` of its request template.",
        AG + "how-to-mock-integration.html",
        scenarios=("mock integration",),
    ),
    Behaviour(
        "Every error of Kinesis but InternalFailureException is status 400; its name is in `__type`.",
        KINESIS_API + "API_PutRecord.html",
        (_OPENAPI,),
        scenarios=("error of kinesis",),
    ),
    Behaviour(
        "selectionPattern is a regular expression on the whole status of the service; the answer without one is for the rest; a status without a method response is 500.",
        AG + "api-gateway-integration-settings-integration-response.html",
        ("infra/local/gateway/parameter_mapping.py", _OPENAPI),
        scenarios=("selection pattern", "undeclared status"),
    ),
    Behaviour(
        "Headers of requests and answers are set by parameter mappings; an answer's Content-Type is application/json unless one sets it.",
        AG + "rest-api-parameter-mapping.html",
        scenarios=("response parameters",),
    ),
    Behaviour(
        "A template may override status and headers of the answer, each once.",
        AG + "apigateway-override-request-response-parameters.html",
        ("infra/local/vtl/__init__.py", _OPENAPI),
        scenarios=("response override",),
    ),
    Behaviour(
        "A Lambda proxy integration hands the request over in this form and answers with what the function returns.",
        AG + "set-up-lambda-proxy-integrations.html",
    ),
    Behaviour(
        "`$context.integration.status` is the service's status, and of a Lambda proxy integration the one that the function returned.",
        _VELOCITY,
        ("operate/audit/sources.py",),
        scenarios=("access log",),
    ),
    Behaviour(
        "The access log may name these variables, one line a request.",
        AG + "api-gateway-variables-for-access-logging.html",
        scenarios=("access log",),
    ),
    Behaviour(
        "A stage without throttle settings lets one API take the account's rate of the Region; a route's own rate is held by a token bucket. Both are targets, not ceilings.",
        AG + "api-gateway-request-throttling.html",
        scenarios=("throttling",),
    ),
    Behaviour(
        "API Gateway does not try an AWS integration again.",
        AG + "integrating-api-with-aws-services-kinesis.html",
        (_OPENAPI,),
        UNKNOWN,
    ),
    Behaviour(
        "`$context.integration.status` of a Lambda proxy is the status that the function's code returned.",
        _VELOCITY,
        ("infra/local/gateway/proxy_integration.py", "operate/audit/sources.py"),
    ),
    Behaviour(
        "A domain's security policy sets the lowest TLS; one whose name begins with SecurityPolicy_ has an access mode, too.",
        AG + "apigateway-security-policies.html",
        (_TEMPLATE,),
    ),
    Behaviour(
        "A rate-based rule of AWS WAF counts the requests of an address over minutes, and takes no limit below 10.",
        "https://docs.aws.amazon.com/waf/latest/APIReference/API_RateBasedStatement.html",
        ("infra/parameters.py", _TEMPLATE),
    ),
    Behaviour(
        "Detailed metrics are five for each method of a path, without a cache, and are billed as custom ones.",
        AG + "api-gateway-metrics-and-dimensions.html",
    ),
    Behaviour(
        "An HTTP API has no mapping templates, no gateway responses and no AWS WAF.",
        AG + "http-api-vs-rest.html",
    ),
    Behaviour(
        "An HTTP API bills a request for each 512 KB.",
        "https://aws.amazon.com/api-gateway/pricing/",
    ),
    Behaviour(
        "SQS bills a request for each 64 KB; it sends, receives and deletes ten messages in one.",
        "https://aws.amazon.com/sqs/pricing/",
    ),
]

DEPLOYMENT = [
    Behaviour(
        "An import takes the endpoint's type from its parameter `endpointConfigurationTypes`; without it the API is EDGE.",
        "https://docs.aws.amazon.com/apigateway/latest/api/API_ImportRestApi.html",
    ),
    Behaviour(
        "A deployment is a snapshot: a changed definition is served only after a new deployment.",
        AG + "set-up-deployments.html",
    ),
    Behaviour(
        "A role's own policies may have 10,240 characters together, a managed policy 6,144, and a role takes ten of these.",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html",
        ("infra/template.py",),
    ),
    Behaviour(
        "CloudWatch Logs uses a key of one's own only if the key's policy lets the service in.",
        "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html",
        ("infra/parameters.py",),
    ),
    Behaviour(
        "CloudWatch publishes to a topic under a key of one's own only if the key's policy lets it in.",
        "https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html",
        ("infra/parameters.py",),
    ),
    Behaviour(
        "S3 sends notices to a queue under a key of one's own only if the key's policy lets it in.",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html",
        ("infra/parameters.py",),
    ),
    Behaviour(
        "The value of a stack's parameter may have 4,096 bytes.",
        CFN + "UserGuide/cloudformation-limits.html",
        ("infra/deploy.py",),
    ),
    Behaviour(
        "A resource that is RetainExceptOnCreate is deleted when the stack's own creation fails, and kept otherwise.",
        CFN + "TemplateReference/aws-attribute-deletionpolicy.html",
        (_TEMPLATE,),
    ),
    Behaviour(
        "A parameter that is not named in an update takes the template's default, unless UsePreviousValue is set.",
        CFN + "APIReference/API_Parameter.html",
    ),
    Behaviour(
        "A parameter must match its AllowedPattern as a whole.", CFN + "UserGuide/parameters-section-structure.html"
    ),
    Behaviour(
        "A stack's name begins with a letter and has letters, digits and hyphens, 128 at most.",
        CFN + "APIReference/API_CreateStack.html",
    ),
    Behaviour(
        "A stack's events are listed newest first, and name the reason of a failure.",
        CFN + "UserGuide/view-stack-events.html",
    ),
    Behaviour(
        "The resources of a deleted stack are listed for 90 days, by its id.",
        CFN + "APIReference/API_ListStackResources.html",
    ),
    Behaviour(
        "A change set of type IMPORT takes up resources that are there, by identifiers such as TableName, BucketName and a stream's Name. It makes, changes and deletes nothing, and each resource needs a DeletionPolicy and may belong to no other stack of the Region.",
        CFN + "UserGuide/import-resources-manually.html",
    ),
    Behaviour(
        "A template that is imported needs no name of the resource, which its identifier has. An update that leaves out a name that the import had gives the resource another one: it is replaced.",
        "https://docs.aws.amazon.com/cdk/v2/guide/ref-cli-cmd-import.html",
        known=seen("https://github.com/go-to-k/cdkd/pull/316", "go-to-k/cdkd, 24 resources on AWS"),
    ),
    Behaviour(
        "The stack that owns a resource can be asked for by the resource's name; of a large one, the answer has the first 100 resources.",
        CFN + "APIReference/API_DescribeStackResources.html",
    ),
    Behaviour(
        "S3 sends a test event to a queue when a notification is set up.",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html",
        (_TEMPLATE,),
    ),
    Behaviour(
        "A role's name has 64 characters at most.",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html",
    ),
    Behaviour(
        "A standard parameter holds 4 KB, an advanced one 8 KB.",
        SSM + "userguide/parameter-store-advanced-parameters.html",
    ),
    Behaviour(
        "A parameter that was advanced is refused as a standard one, whatever its size.",
        SSM + "APIReference/API_PutParameter.html",
    ),
    Behaviour("GetParameters reads ten parameters in a call.", SSM + "APIReference/API_GetParameters.html"),
    Behaviour(
        "GetParameters may be called 40 times a second in an account and Region unless higher throughput is switched on.",
        "https://docs.aws.amazon.com/general/latest/gr/ssm.html",
    ),
    Behaviour(
        "BatchGetSecretValue reads twenty secrets in a call.",
        "https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html",
    ),
    Behaviour(
        "A secret's value has 65,536 bytes at most.",
        "https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html",
    ),
    Behaviour(
        "Concurrency that is reserved for a function is taken from the account's, of which 100 must remain unreserved.",
        LAMBDA + "configuration-concurrency.html",
    ),
    Behaviour(
        "The runtime python3.13 runs on Amazon Linux 2023, on x86_64 and arm64.", LAMBDA + "lambda-runtimes.html"
    ),
    Behaviour(
        "The runtime brings a botocore of its own, in a version that is not promised.", LAMBDA + "lambda-python.html"
    ),
    Behaviour(
        "With UpdateRuntimeOn FunctionUpdate a function's runtime, botocore included, changes only when the function does.",
        LAMBDA + "runtimes-update.html",
    ),
    Behaviour(
        "A rule can be disabled, and takes a moment to stop.",
        "https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_DisableRule.html",
    ),
    Behaviour(
        "A request that is signed names its access key, in a header or in the query.",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html",
    ),
    Behaviour(
        "SNS begins a subscription with a POST that names a URL, and sends nothing else until that was opened.",
        "https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.confirm.html",
    ),
    Behaviour(
        "SNS signs a message by a certificate that lies under a name of SNS.",
        "https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html",
    ),
    Behaviour(
        "A Region's SNS endpoint is `sns.REGION.amazonaws.com`, or `.amazonaws.com.cn` in China.",
        "https://docs.aws.amazon.com/general/latest/gr/sns.html",
    ),
]

STREAM = [
    Behaviour("A shard takes 1 MB and 1,000 records a second, and gives 2 MB a second in 5 calls.", _STREAM_LIMITS),
    Behaviour(
        "A record has 1 MiB at most, unless the stream allows up to 10 MiB.",
        KINESIS + "large-records.html",
        ("consumers/judging/aggregate.py", _TEMPLATE),
    ),
    Behaviour(
        "A stream on demand takes twice its peak of the last 30 days at once.", KINESIS + "how-do-i-size-a-stream.html"
    ),
    Behaviour(
        "A stream asks KMS about every five minutes for each who writes or reads; the requests are billed, AWS's own key is not.",
        KINESIS + "costs-performance.html",
    ),
    Behaviour("Sequence numbers grow within a shard and are compared as numbers.", KINESIS_API + "API_Record.html"),
    Behaviour(
        "PutRecords takes 500 records, and some of them may fail while the call succeeds.",
        KINESIS_API + "API_PutRecords.html",
    ),
    Behaviour(
        "GetRecords tells how far it is behind the newest record, and a shard has ended when there is no next iterator.",
        KINESIS_API + "API_GetRecords.html",
    ),
    Behaviour(
        "After a change of shards the parents are read to their end before their children, so that every key stays in order.",
        KINESIS + "kinesis-using-sdk-java-after-resharding.html",
        scenarios=("parent before child", "parents before a merged child", "split under a running mapping"),
    ),
    Behaviour(
        "A number of shards may at most be halved or doubled in one change.", KINESIS_API + "API_UpdateShardCount.html"
    ),
    Behaviour(
        "The largest record that a stream takes can be changed while it is written to.",
        KINESIS_API + "API_UpdateMaxRecordSize.html",
    ),
    Behaviour(
        "A batch holds records of one shard, in order; several batches of a shard run at once only for different keys.",
        LAMBDA + "with-kinesis.html",
        scenarios=("one shard a batch", "parallelization factor", "event document"),
    ),
    Behaviour(
        "A mapping has the properties that the template sets, with its bounds: BatchSize to 10,000, ParallelizationFactor to 10, a window to 300 s.",
        CFN + "TemplateReference/aws-resource-lambda-eventsourcemapping.html",
        scenarios=("batch size", "batch window"),
    ),
    Behaviour(
        "The lowest sequence number that a batch reports is the checkpoint: everything from it on comes again.",
        LAMBDA + "services-kinesis-batchfailurereporting.html",
        scenarios=("partial batch response", "bisect with a partial response", "answers that mean success"),
    ),
    Behaviour(
        "An identifier that is not of the batch fails the whole batch.",
        LAMBDA + "services-kinesis-batchfailurereporting.html",
        ("infra/local/poller/batches.py",),
        seen(
            _LOCALSTACK_TESTS + "lambda_/event_source_mapping/test_lambda_integration_kinesis.py",
            "LocalStack's tests against AWS, 2025-11-25",
        ),
        ("identifiers that fail the batch",),
    ),
    Behaviour(
        "Bisection isolates a record that kills the function, and costs no retry.",
        _DESTINATION,
        ("infra/local/poller/lanes.py", _TEMPLATE),
        scenarios=("bisect isolates a record", "bisect consumes no retry"),
    ),
    Behaviour(
        "What a mapping gives up on goes to S3 as an invocation record with the whole event in `payload`.",
        _DESTINATION,
        ("infra/local/poller/destinations.py", "operate/replay/origins/from_failures.py"),
        scenarios=("failure object in s3", "record age", "attempts"),
    ),
    Behaviour(
        "A filter on data drops what is not JSON, and changes no record that it lets through.",
        LAMBDA + "with-kinesis-filtering.html",
        scenarios=("filter criteria on data", "filtered record keeps its bytes"),
    ),
    Behaviour(
        "A filter compares by prefix, number, existence and exclusion.",
        LAMBDA + "invocation-eventfiltering.html#filtering-syntax",
        scenarios=("filter comparisons",),
    ),
    Behaviour(
        "A mapping that is disabled goes on where it stopped.",
        LAMBDA_API + "API_UpdateEventSourceMapping.html",
        scenarios=("restart", "disabled mapping"),
    ),
    Behaviour(
        "IteratorAge comes with invocations. That there is none while a mapping is paused follows from that.",
        LAMBDA + "monitoring-metrics-types.html",
        ("operate/audit/sources.py", _TEMPLATE),
    ),
    Behaviour(
        "The mapping's own metrics, DroppedEventCount among them, come when MetricsConfig asks for them.",
        LAMBDA + "monitoring-metrics-types.html#event-source-mapping-metrics",
    ),
    Behaviour(
        "A function that is throttled is answered 429, and the mapping tries again.",
        LAMBDA_API + "API_Invoke.html",
        scenarios=("throttled function",),
    ),
    Behaviour(
        "What starts a function without an answer is kept six hours while the function is throttled, and tried twice more when it fails; MaximumEventAgeInSeconds and MaximumRetryAttempts say otherwise.",
        LAMBDA + "invocation-async-error-handling.html",
    ),
    Behaviour(
        "An invocation has 6 MB at most, and an account 1,000 at once unless AWS allows more or less.",
        LAMBDA + "gettingstarted-limits.html",
        scenarios=("batch of 6 mb", "record over 6 mb"),
    ),
    Behaviour(
        "An environment of a function is kept between invocations and serves one at a time.",
        LAMBDA + "lambda-runtime-environment.html",
    ),
    Behaviour(
        "The runtime sets environment variables of its own, among them the function's name, memory and log stream.",
        LAMBDA + "configuration-envvars.html",
    ),
    Behaviour("The context tells the time that is left.", LAMBDA + "python-context.html"),
    Behaviour(
        "A function has a whole processor at 1,769 MB, and less in proportion.", LAMBDA + "configuration-memory.html"
    ),
]

STORES = [
    Behaviour(
        "A transaction has 100 actions and 4 MB at most, and happens as a whole or not at all.",
        DDB + "APIReference/API_TransactWriteItems.html",
    ),
    Behaviour(
        "An item has 400 KB at most, a number 38 digits; numbers that are equal are one key.",
        DDB + "developerguide/Constraints.html",
    ),
    Behaviour(
        "A key attribute is a string, a number or bytes.", DDB + "developerguide/HowItWorks.NamingRulesDataTypes.html"
    ),
    Behaviour(
        "A table has 20 global indexes, 100 attributes that indexes name; a key attribute's name has 255 bytes.",
        DDB + "developerguide/ServiceQuotas.html",
    ),
    Behaviour(
        "A table can be declared with keys, indexes, TTL, protection and point-in-time recovery.",
        CFN + "TemplateReference/aws-resource-dynamodb-table.html",
    ),
    Behaviour(
        "BatchGetItem reads 100 keys, and may leave keys unprocessed that must be asked again with growing pauses.",
        DDB + "APIReference/API_BatchGetItem.html",
    ),
    Behaviour(
        "BatchExecuteStatement takes 25 statements, each of which fails by itself.",
        DDB + "APIReference/API_BatchExecuteStatement.html",
    ),
    Behaviour(
        "ValidationException and its like are final; throttling errors and 5xx may be tried again.",
        DDB + "developerguide/Programming.Errors.html",
    ),
    Behaviour(
        "An index whose partition is throttled makes writes to its table fail; a partition takes 1,000 write units a second.",
        DDB + "developerguide/gsi-throttling.html",
    ),
    Behaviour("A Put within a transaction that lacks a key attribute is refused.", DDB + "APIReference/API_Put.html"),
    Behaviour(
        "An item counts by the bytes of its names and values; a write unit is 1 KB, and a transaction takes two for each.",
        DDB + "developerguide/CapacityUnitCalculations.html",
    ),
    Behaviour(
        "TTL deletes within days after the time, not at it.",
        DDB + "developerguide/TTL.html",
        ("consumers/events_table/mark.py",),
    ),
    Behaviour(
        "A table with deletion protection is not deleted, a failed creation included.",
        DDB + "developerguide/WorkingWithTables.Basics.html",
        (_TEMPLATE, "infra/stored.py"),
    ),
    Behaviour(
        "Firehose delivers at least once, in any order between objects, and buffers by size and time.",
        FIREHOSE + "basic-deliver.html",
    ),
    Behaviour("Firehose tries S3 again until the stream's retention ends.", FIREHOSE + "retry.html"),
    Behaviour("An object's name ends with stream, version, time and a UUID.", FIREHOSE + "s3-object-name.html"),
    Behaviour("A prefix without an expression gets `yyyy/MM/dd/HH/` appended, in UTC.", FIREHOSE + "s3-prefixes.html"),
    Behaviour(
        "A lifecycle rule deletes objects some time after they expire.",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-expire-general-considerations.html",
    ),
    Behaviour(
        "A log line in the Embedded Metric Format becomes metrics, of at most 100 names.",
        CLOUDWATCH + "CloudWatch_Embedded_Metric_Format_Specification.html",
    ),
    Behaviour(
        "What FILL makes of a series that has no data at all is not said. An alarm for a silent source does not depend on it; ConsumerSilentAlarm and AccountSilentAlarm do.",
        CLOUDWATCH + "using-metric-math.html",
        (_TEMPLATE, "infra/silence.py"),
        UNKNOWN,
    ),
    Behaviour(
        "An alarm with periods of an hour looks back seven days at most, one with shorter periods a day.",
        "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html",
    ),
    Behaviour(
        "An alarm's message has its name, state, reason, ARN and Region as JSON.",
        CLOUDWATCH + "AlarmThatSendsEmail.html",
        ("operate/alarm_relay.py",),
    ),
    Behaviour(
        "SNS invokes a function without waiting, with the message in each record; what fails is tried twice more.",
        "https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html",
        ("operate/alarm_relay.py",),
    ),
    Behaviour(
        "An alarm acts when its state changes, and not again while it stays.",
        CLOUDWATCH + "Notify_Users_Alarm_Changes.html",
    ),
    Behaviour(
        "PutLogEvents takes events in order of time, within 24 hours, of 1 MB in all.",
        "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html",
    ),
    Behaviour(
        "Full jitter spreads tries that would meet again.",
        "https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/",
    ),
    Behaviour(
        "An alarm is billed for each metric that it reads. What is stored of a log is compressed, with 26 bytes more for each line; an example of AWS's counts 15 %.",
        "https://aws.amazon.com/cloudwatch/pricing/",
    ),
    Behaviour(
        "Firehose bills each record of a stream in whole 5 KB.",
        "https://aws.amazon.com/firehose/pricing/",
    ),
    Behaviour(
        "Contributor Insights has two rules for each key of a table, and counts an item that is written or read once for each key.",
        DDB + "developerguide/contributorinsights_HowItWorks.html",
    ),
    Behaviour(
        "A table whose key is AWS's managed one asks KMS about every five minutes for each connection that uses it, and each of these is billed.",
        DDB + "developerguide/encryption.usagenotes.html",
        (),
        "[seen by others](https://github.com/aws/aws-sdk-go-v2/discussions/2128)",
    ),
    Behaviour(
        "Powertools' batch processor reports failed records, and its idempotency keeps one record each; Weir is measured against both.",
        "https://docs.aws.amazon.com/powertools/python/latest/utilities/batch/",
    ),
    Behaviour(
        "A global table with multi-Region strong consistency takes no transactions and has no TTL. In one with eventual consistency a transaction is atomic only in the Region where it is made, conditions look at that Region's items, and of two writes the later one wins.",
        DDB + "developerguide/V2globaltables_HowItWorks.html",
        ("infra/adopt.py", _SECOND),
    ),
    Behaviour(
        "A table is restored to a second of the last 35 days, as a new table with its indexes, and without TTL, tags, auto scaling, streams and recovery.",
        DDB + "APIReference/API_RestoreTableToPointInTime.html",
        (_RESTORE,),
    ),
    Behaviour(
        "What a transaction has changed reaches backups gradually: a restored table may hold a part of a recent one.",
        DDB + "developerguide/transaction-apis.html",
        (_RESTORE,),
    ),
    Behaviour(
        "Of a table with point-in-time recovery that is deleted there is a system backup of its last moment, for 35 days.",
        DDB + "developerguide/PointInTimeRecovery_Howitworks.html",
        (_RESTORE,),
    ),
    Behaviour(
        "A table can be restored into another Region.",
        DDB + "developerguide/pointintimerecovery_restores.html",
        (_SECOND,),
    ),
    Behaviour(
        "Two Regions may have an API Gateway domain of one name, between which Route 53 fails over.",
        AG + "dns-failover.html",
        (_SECOND,),
    ),
    Behaviour(
        "S3 replication needs versions.",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication.html",
        (_SECOND,),
    ),
    Behaviour(
        "Objects that were there before replication was set up are not replicated by it.",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-batch-replication-batch.html",
        (_SECOND,),
    ),
    Behaviour(
        "A secret in Secrets Manager can be replicated into other Regions, under the same name.",
        "https://docs.aws.amazon.com/secretsmanager/latest/userguide/replicate-secrets.html",
        (_SECOND,),
    ),
]

_AUTHORIZATION = "https://docs.aws.amazon.com/service-authorization/latest/reference/"
_IAM = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
RIGHTS = [
    Behaviour(
        "A handler of CloudFormation calls what its type's schema lists, with the rights of whom it acts for, and no more.",
        CFN + "UserGuide/resource-type-schemas.html",
    ),
    Behaviour(
        "The handlers' permissions in a schema are those for create, read, update, delete and list.",
        "https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html",
    ),
    Behaviour(
        "What a template does not name is named `stack-LogicalId-RANDOM`, a bucket in lower case.",
        CFN + "UserGuide/aws-properties-name.html",
    ),
    Behaviour(
        "Of a stack's name, at least 24 characters are left in the names of its roles and rules, however long it is.",
        CFN + "UserGuide/aws-properties-name.html",
        ("infra/policies/documents.py", "infra/policies/resources.yaml"),
        UNKNOWN,
    ),
    Behaviour(
        "An action that knows resources is refused for others, and one that knows none is granted on `*` alone.",
        _AUTHORIZATION + "reference_policies_actions-resources-contextkeys.html",
    ),
    Behaviour(
        "A domain with mutual TLS takes AddCertificateToDomain and RemoveCertificateFromDomain of its maker.",
        _AUTHORIZATION + "list_amazonapigatewaymanagement.html",
    ),
    Behaviour(
        "API Gateway reads a truststore with the rights of who makes the domain.",
        AG + "rest-api-mutual-tls.html",
    ),
    Behaviour(
        "API Gateway makes its service-linked role, once, with the rights of who makes a domain.",
        AG + "using-service-linked-roles.html",
    ),
    Behaviour(
        "Tags of an API and of a stage are written below `/tags`.",
        AG + "apigateway-tagging-supported-resources.html",
    ),
    Behaviour("Tags of a function take rights of their own.", LAMBDA + "configuration-tags.html"),
    Behaviour(
        "Rights on event source mappings can be had by the function's ARN.",
        LAMBDA + "lambda-api-permissions-ref.html",
    ),
    Behaviour(
        "`iam:PassedToService` names the service that is given a role, `iam:PermissionsBoundary` the boundary that a role has.",
        _IAM + "reference_policies_iam-condition-keys.html",
    ),
    Behaviour(
        "Application Auto Scaling makes alarms for a target with the rights of who puts the policy.",
        "https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html",
    ),
    Behaviour(
        "Rights on a log group take `:*` behind its name, but for those on its tags.",
        "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html",
    ),
    Behaviour(
        "DynamoDB decrypts a table's key with the rights of who reads or writes.",
        DDB + "developerguide/encryption.howitworks.html",
    ),
    Behaviour(
        "Who puts records takes kms:GenerateDataKey on the stream's own key, and who reads them kms:Decrypt.",
        KINESIS + "permissions-user-key-KMS.html",
    ),
    Behaviour(
        "Who writes an object takes kms:GenerateDataKey on the bucket's own key, and who reads it kms:Decrypt.",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html",
    ),
    Behaviour(
        "`kms:ViaService` names the service, and its Region, by way of which a key is used.",
        "https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html",
    ),
]

SECTIONS = {
    "At the door: API Gateway": DOOR,
    "Deployment, secrets, runtime": DEPLOYMENT,
    "Rights of people": RIGHTS,
    "Stream and function": STREAM,
    "Tables, archive, logs, alarms": STORES,
}
