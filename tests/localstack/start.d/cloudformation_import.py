"""Inside LocalStack, for tests: change sets of type IMPORT, and who owns a resource; LocalStack 4.14 has neither.

It does what AWS says of them, and no more: it refuses a template that has anything else to change, a resource without a
DeletionPolicy and one that a stack owns; it makes and changes nothing. What LocalStack does in the update after it is
its own. How AWS behaves where it says nothing, this cannot show.
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html
"""

from localstack.aws.api import handler
from localstack.services.cloudformation.engine.v2.change_set_model_executor import ChangeSetModelExecutor
from localstack.services.cloudformation.engine.validations import ValidationError
from localstack.services.cloudformation.resource_provider import OperationStatus, ProgressEvent
from localstack.services.cloudformation.stores import get_cloudformation_store
from localstack.services.cloudformation.v2 import provider

_describe_resources = provider.CloudformationProviderV2.describe_stack_resources
_create_change_set = provider.CloudformationProviderV2.create_change_set
_execute_change_set = provider.CloudformationProviderV2.execute_change_set
_execute = ChangeSetModelExecutor._execute_resource_action
_ARNS = {
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "AWS::Kinesis::Stream": "arn:aws:kinesis:{region}:{account}:stream/{name}",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
}
_STATUSES = {
    "CREATE_IN_PROGRESS": "IMPORT_IN_PROGRESS",
    "UPDATE_IN_PROGRESS": "IMPORT_IN_PROGRESS",
    "CREATE_COMPLETE": "IMPORT_COMPLETE",
    "UPDATE_COMPLETE": "IMPORT_COMPLETE",
    "ROLLBACK_COMPLETE": "IMPORT_ROLLBACK_COMPLETE",
}


@handler("DescribeStackResources")
def describe_stack_resources(self, context, stack_name=None, logical_resource_id=None, physical_resource_id=None):
    if physical_resource_id is None:
        return _describe_resources(self, context, stack_name, logical_resource_id)
    for stack in get_cloudformation_store(context.account_id, context.region).stacks_v2.values():
        if _owns(stack, physical_resource_id):
            return {"StackResources": [*stack.resource_states.values()]}
    raise ValidationError(f"Stack for {physical_resource_id} does not exist")


def _owns(stack, name):
    states = stack.resource_states.values() if stack.is_active() else ()
    return any(one.get("PhysicalResourceId") == name and one["ResourceStatus"][:7] != "DELETE_" for one in states)


@handler("CreateChangeSet", expand=False)
def create_change_set(self, context, request):
    if request.get("ChangeSetType") != "IMPORT":
        return _create_change_set(self, context, request)
    store = get_cloudformation_store(context.account_id, context.region)
    living = [one for one in store.stacks_v2.values() if one.is_active()]
    stack = next((one for one in living if one.stack_name == request["StackName"]), None)
    imports = {one["LogicalResourceId"]: one for one in request["ResourcesToImport"]}
    for one in imports.values():
        (name,) = one["ResourceIdentifier"].values()
        for other in living:
            if _owns(other, name):
                raise ValidationError(f"{name} already exists in stack {other.stack_id}")
    kind = "UPDATE" if stack is not None and stack.template else "CREATE"
    answer = _create_change_set(self, context, {**request, "ChangeSetType": kind})
    made = store.change_sets[answer["Id"]]
    _check(made, imports, stack.template if kind == "UPDATE" else {})
    made.imports = imports
    return answer


def _check(made, imports, before):
    template = made.template
    if template.get("Outputs", {}) != (before or {}).get("Outputs", {}):
        raise ValidationError("As part of the import operation, you cannot modify or add [Outputs]")
    old = {name: one for name, one in template["Resources"].items() if name not in imports}
    if old != (before or {}).get("Resources", {}):
        raise ValidationError("You have modified resources in your template that are not being imported")
    for name in imports:
        if "DeletionPolicy" not in template["Resources"][name]:
            raise ValidationError(f"Resource [{name}] needs a DeletionPolicy to be imported")


@handler("ExecuteChangeSet")
def execute_change_set(self, context, change_set_name, stack_name=None, **rest):
    store = get_cloudformation_store(context.account_id, context.region)
    made = provider.find_change_set_v2(store, change_set_name, stack_name)
    if not getattr(made, "imports", None):
        return _execute_change_set(self, context, change_set_name, stack_name, **rest)
    stack, set_status = made.stack, made.stack.set_stack_status

    def as_import(status, reason=None):
        if str(status) in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "ROLLBACK_COMPLETE"}:
            stack.__dict__.pop("set_stack_status", None)  # the next operation is an update
        set_status(_STATUSES.get(str(status), status), reason)

    stack.set_stack_status = as_import
    return _execute_change_set(self, context, change_set_name, stack_name, **rest)


def _act(self, action, logical_resource_id, resource_type, before_properties, after_properties, *args, **rest):
    one = getattr(self._change_set, "imports", {}).get(logical_resource_id)
    if one is None:
        return _execute(
            self, action, logical_resource_id, resource_type, before_properties, after_properties, *args, **rest
        )
    stack = self._change_set.stack
    ((identifier, name),) = one["ResourceIdentifier"].items()
    arn = _ARNS[resource_type].format(region=stack.region_name, account=stack.account_id, name=name)
    model = {**after_properties.properties, identifier: name, "Arn": arn}
    self.resources[logical_resource_id] = {
        "Properties": model,
        "LogicalResourceId": logical_resource_id,
        "Type": resource_type,
        "PhysicalResourceId": name,
        "ResourceStatus": "IMPORT_COMPLETE",
    }
    return ProgressEvent(OperationStatus.SUCCESS, resource_model=model)


provider.CloudformationProviderV2.describe_stack_resources = describe_stack_resources
provider.CloudformationProviderV2.create_change_set = create_change_set
provider.CloudformationProviderV2.execute_change_set = execute_change_set
ChangeSetModelExecutor._execute_resource_action = _act
