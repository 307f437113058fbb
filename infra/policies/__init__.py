"""IAM policies for people, by role: what Weir's commands call, and what CloudFormation calls on their behalf."""
