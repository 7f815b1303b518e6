"""Checks in CloudFormation templates what no linter does, and writes each as CloudFormation will see it.

    check.py FOLDER TEMPLATE...

A SAM template is expanded by aws-sam-translator first; FOLDER gets one JSON file for each template. Afterwards every mistake
of MISTAKES is made in the shipped templates, one at a time, and must be found: a check that finds nothing proves nothing.
"""

import fnmatch
import json
import pathlib
import re
import sys

import boto3
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

# Which service invokes the function, by the type of what it does so for. Scheduler takes a role instead.
# https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions.html
PRINCIPALS = {
    "AWS::CloudWatch::Alarm": "lambda.alarms.cloudwatch.amazonaws.com",
    "AWS::Events::Rule": "events.amazonaws.com",
    "AWS::SNS::Topic": "sns.amazonaws.com",
}

# Which services take the roles.
TRUSTED = {"lambda.amazonaws.com", "scheduler.amazonaws.com"}

# Who takes the roles of other accounts: the function's own role, by name.
FUNCTION = {"AWS": {"Ref": "FunctionRoleArn"}}

# The statements that may be about everything, since AWS knows no narrower resource for these actions.
# https://docs.aws.amazon.com/service-authorization/latest/reference/
BOUNDLESS = {"cloudwatch:GetMetricData"} | {
    f"ec2:{action}"
    for action in [
        "CreateNetworkInterface",
        "DeleteNetworkInterface",
        "DescribeNetworkInterfaces",
        "DescribeSubnets",
        "AssignPrivateIpAddresses",
        "UnassignPrivateIpAddresses",
    ]
}

ALIAS = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${FunctionName}:live"

# How the ARN of an alarm begins, up to its logical id.
NAMED = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:${AWS::StackName}-"

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "infra"

# Without them in its description a version is published all the same, since there is another function; or it has no such property.
UNVERSIONED = {"FunctionName", "ReservedConcurrency"}

# SAM puts the values of parameters in at some places, so that they must not be the default ones.
WINDOW = 120


# What a window of so many seconds means. A period of the alarm on failures holds a poll of the slowest target, and a minute more:
# for the shipped templates that target is polled every 300 s.
OF_WINDOW = {
    "Rate": lambda seconds: "rate(1 minute)" if seconds == 60 else f"rate({seconds // 60} minutes)",
    "Timeout": lambda seconds: seconds + 15,
    "FailingPeriod": lambda seconds: -(-300 // seconds) * seconds + 60,
}


def expand(text):
    """The template without what only SAM knows."""
    template = yaml_parse(text)
    if "Transform" not in template:
        return template
    for resource in template["Resources"].values():
        # As `sam package` leaves it.
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/package.zip"
    session = boto3.Session(region_name="eu-west-1")
    return Translator({}, Parser(), boto_session=session).translate(template, {"Window": WINDOW})


def as_list(value):
    return value if isinstance(value, list) else [value]


def choices(value):
    """What a value may be: both sides of each Fn::If, without those that stand for nothing."""
    if isinstance(value, dict) and "Fn::If" in value:
        _, yes, no = value["Fn::If"]
        return choices(yes) + choices(no)
    return [] if value == {"Ref": "AWS::NoValue"} else [value]


def leaves(value):
    """The single values of a list that may be chosen, or have chosen ones in it."""
    return [leaf for choice in choices(value) for item in as_list(choice) for leaf in choices(item)]


def nodes(value):
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for child in children:
        yield from nodes(child)


def parameters(value):
    """The parameters in a value, and whatever else is referred to."""
    found = set()
    for node in nodes(value):
        if isinstance(node, dict) and isinstance(node.get("Ref"), str):
            found.add(node["Ref"])
        if isinstance(node, dict) and "Fn::Sub" in node:
            found |= set(re.findall(r"\$\{(\w+)\}", json.dumps(node["Fn::Sub"])))
    return found


def tested(value):
    """The conditions that a value depends on."""
    return {node["Fn::If"][0] for node in nodes(value) if isinstance(node, dict) and "Fn::If" in node}


class Check:
    def __init__(self, template):
        self.template = template
        self.resources = template["Resources"]
        self.problems = []
        self.window = self.find_window()

    def say(self, name, problem):
        self.problems.append(f"{name}: {problem}")

    def find_window(self):
        """The window in seconds: a parameter, or the number that was rendered in its place."""
        if "Window" in self.template.get("Parameters", {}):
            return {"Ref": "Window"}
        ages = [properties["MaximumEventAgeInSeconds"] for _, properties in self.of_type("AWS::Lambda::EventInvokeConfig")]
        return ages[0] if ages else None

    def of_window(self, what):
        if isinstance(self.window, dict):
            return {"Fn::FindInMap": ["Windows", self.window, what]}
        return OF_WINDOW[what](self.window)

    def of_type(self, *types):
        return [
            (name, resource["Properties"]) for name, resource in self.resources.items() if resource["Type"] in types
        ]

    def is_alias(self, value):
        """Whether it is the alias that stays when the function gets a new version."""
        if isinstance(value, dict) and "Ref" in value:
            return self.resources.get(value["Ref"], {}).get("Type") == "AWS::Lambda::Alias"
        return isinstance(value, dict) and value.get("Fn::Sub") == ALIAS

    def source(self, value):
        """The name of the resource whose ARN it is; the first letters of several, and a star."""
        if isinstance(value, dict) and str(value.get("Fn::Sub")).startswith(NAMED):
            return value["Fn::Sub"].removeprefix(NAMED)
        if isinstance(value, dict) and "Fn::GetAtt" in value and value["Fn::GetAtt"][1] == "Arn":
            return value["Fn::GetAtt"][0]
        return value.get("Ref") if isinstance(value, dict) else None

    def run(self):
        self.permissions()
        self.targets()
        self.roles()
        self.alarms()
        self.schedules()
        self.access_entries()
        self.functions()
        self.topics()
        self.dashboards()
        self.names()
        return self.problems

    def permissions(self):
        for name, properties in self.of_type("AWS::Lambda::Permission"):
            source = self.source(properties.get("SourceArn"))
            matching = fnmatch.filter(self.resources, source or "")
            kinds = {self.resources[matched]["Type"] for matched in matching} - {"AWS::Lambda::Permission"}
            if {PRINCIPALS.get(kind) for kind in kinds} != {properties["Principal"]}:
                self.say(name, f"the principal {properties['Principal']} invokes for no {kinds}")
            # As each service documents it; the ARN of a rule or a topic has the account in it, and they may send no other sign.
            alarm = kinds == {"AWS::CloudWatch::Alarm"}
            if properties.get("SourceAccount") != ({"Ref": "AWS::AccountId"} if alarm else None):
                self.say(name, f"the SourceAccount {properties.get('SourceAccount')} for {kinds}")
            if properties["Action"] != "lambda:InvokeFunction":
                self.say(name, f"the action {properties['Action']}")
            if not self.is_alias(properties["FunctionName"]):
                self.say(name, "is not for the alias, which is what is invoked")

    def may_invoke(self, source):
        permitted = [self.source(properties.get("SourceArn")) for _, properties in self.of_type("AWS::Lambda::Permission")]
        return any(fnmatch.fnmatch(source, pattern) for pattern in permitted if pattern)

    def targets(self):
        """Who calls the function calls its alias, and is allowed to."""
        for name, properties in self.of_type("AWS::Events::Rule"):
            for target in properties["Targets"]:
                if not self.is_alias(target["Arn"]):
                    self.say(name, "its target is not the alias")
                if target["RetryPolicy"]["MaximumRetryAttempts"] != 0:
                    self.say(name, "retries an event that is late by then")
            if not self.may_invoke(name):
                self.say(name, "nothing permits it to invoke the function")
        for name, properties in self.of_type("AWS::SNS::Subscription"):
            if not self.is_alias(properties["Endpoint"]) or properties["Protocol"] != "lambda":
                self.say(name, "its endpoint is not the alias")
            if not self.may_invoke(self.source(properties["TopicArn"])):
                self.say(name, "nothing permits its topic to invoke the function")

    def roles(self):
        for name, properties in self.of_type("AWS::IAM::Role"):
            for statement in properties["AssumeRolePolicyDocument"]["Statement"]:
                if statement["Principal"] == FUNCTION:
                    continue
                trusted = set(as_list(statement["Principal"].get("Service", [])))
                if not trusted or not trusted <= TRUSTED or len(statement["Principal"]) != 1:
                    self.say(name, f"may be taken by {statement['Principal']}")
                if "scheduler.amazonaws.com" in trusted and "Condition" not in statement:
                    self.say(name, "may be taken by the Scheduler for another account")
            if "ManagedPolicyArns" in properties:
                self.say(name, "has a policy that others change")
            for policy in leaves(properties.get("Policies", [])):
                for statement in leaves(policy["PolicyDocument"]["Statement"]):
                    self.statement(name, statement)

    def statement(self, name, statement):
        actions = as_list(statement["Action"])
        resources = leaves(statement["Resource"])
        if statement["Effect"] == "Deny":
            return
        for action in actions:
            if "*" in action:
                self.say(name, f"allows {action}")
        if "*" in resources and not set(actions) <= BOUNDLESS:
            self.say(name, f"allows {actions} on everything")
        if actions == ["lambda:InvokeFunction"] and not all(self.is_alias(resource) for resource in resources):
            self.say(name, "may invoke more than the alias")
        if "sts:AssumeRole" in actions and resources != [{"Ref": "AssumeRoleArns"}] and not all(
            re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", str(resource)) for resource in resources
        ):
            self.say(name, f"may take {resources}")

    def alarms(self):
        for name, properties in self.of_type("AWS::CloudWatch::Alarm"):
            for kind in ["AlarmActions", "OKActions", "InsufficientDataActions"]:
                for action in leaves(properties.get(kind, [])):
                    topic = self.resources.get(self.source(action), {}).get("Type") == "AWS::SNS::Topic"
                    if self.is_alias(action):
                        if not self.may_invoke(name):
                            self.say(name, "nothing permits it to invoke the function")
                    elif not topic and action != {"Ref": "NotifyTopicArn"}:
                        self.say(name, f"its action {action} is neither the alias nor a topic")
            name_of = {"AWS/SQS": "QueueName", "AWS/Lambda": "FunctionName"}.get(properties["Namespace"])
            for dimension in properties["Dimensions"]:
                value = dimension["Value"]
                if dimension["Name"] != name_of or (isinstance(value, dict) and value != {"Ref": name_of}):
                    self.say(name, f"{properties['Namespace']} has no metric by {dimension}")

    def schedules(self):
        windows = self.template.get("Mappings", {}).get("Windows", {})
        for seconds, window in windows.items():
            for what, value in window.items():
                if value != OF_WINDOW[what](int(seconds)):
                    self.say(f"Windows.{seconds}", f"{what} is {value}")
        rate = self.of_window("Rate") if self.window else None
        for name, properties in self.of_type("AWS::Scheduler::Schedule", "AWS::Events::Rule"):
            if properties.get("ScheduleExpression", rate) != rate:
                self.say(name, f"fires at {properties['ScheduleExpression']}, not once a window")
        for name, properties in self.of_type("AWS::CloudWatch::Alarm"):
            if properties["Namespace"] == "AWS/Lambda":
                self.of_function(name, properties)
        for name, properties in self.of_type("AWS::Scheduler::Schedule"):
            target = properties["Target"]
            if properties["FlexibleTimeWindow"] != {"Mode": "OFF"}:
                self.say(name, "may be late")
            if not self.is_alias(target["Arn"]):
                self.say(name, "its target is not the alias")
            if target["RetryPolicy"]["MaximumRetryAttempts"] != 0:
                self.say(name, "retries an event that is late by then")
        if self.window and not self.of_type("AWS::Scheduler::Schedule", "AWS::Events::Rule"):
            self.say("Schedule", "nothing is scheduled")

    def of_function(self, name, alarm):
        """The two alarms on the function itself."""
        if alarm["MetricName"] == "Invocations":
            if alarm["Period"] != self.window or alarm["TreatMissingData"] != "breaching":
                self.say(name, "does not fire where there is nothing to count in a window")
        elif alarm["MetricName"] == "Errors":
            period = alarm["Period"]
            if isinstance(self.window, dict):
                holds = period == self.of_window("FailingPeriod")
            else:
                # Rendered for the intervals that there are, by whole minutes.
                holds = isinstance(period, int) and period % 60 == 0 and period >= max(300, self.window + 60)
            if not holds:
                self.say(name, f"its period {period} may hold no poll of a target that fails")
            if (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) != (2, 2):
                self.say(name, "fires for one failure, or for none")
        else:
            self.say(name, "is for what the other two tell")

    def access_entries(self):
        for name, properties in self.of_type("AWS::EKS::AccessEntry"):
            if properties["Type"] != "STANDARD":
                self.say(name, f"the type {properties['Type']}")
            if properties["KubernetesGroups"] != ["outrigger"] or "AccessPolicies" in properties:
                self.say(name, f"the groups {properties['KubernetesGroups']}; the RoleBinding is for outrigger alone")
            if "Condition" not in self.resources[name]:
                self.say(name, "cannot be left to somebody else")

    def functions(self):
        for name, properties in self.of_type("AWS::Lambda::Function"):
            variables = properties["Environment"]["Variables"]
            if properties["Timeout"] != self.of_window("Timeout"):
                self.say(name, "its timeout does not follow the window")
            if variables.get("OUTRIGGER_WINDOW") not in [self.window, str(self.window)]:
                self.say(name, "OUTRIGGER_WINDOW is not the window")
            if properties["Runtime"] != "provided.al2023" or properties["Handler"] != "bootstrap":
                self.say(name, f"{properties['Runtime']} does not start {properties['Handler']}")
            if not self.of_type("AWS::Lambda::EventInvokeConfig") or not self.of_type("AWS::Lambda::Alias"):
                self.say(name, "its retries are Lambda's, or it has no alias")
            self.versions(name, properties)
        for name, properties in self.of_type("AWS::Lambda::EventInvokeConfig"):
            if properties.get("Qualifier") != "live":
                self.say(name, "is not for the alias, which is what is invoked")
            if properties["MaximumRetryAttempts"] != 0 or properties["MaximumEventAgeInSeconds"] not in [self.window, WINDOW]:
                self.say(name, "events are retried, or live longer than the window")
            if "OnFailure" not in properties.get("DestinationConfig", {}):
                self.say(name, "nobody is told of failures")

    def versions(self, function, properties):
        """A change of a parameter that the function depends on publishes a version, or people are told what does."""
        conditions = self.template.get("Conditions", {})
        used = parameters([properties, [conditions[name] for name in tested(properties)]])
        told = self.template["Parameters"].get("Revision", {}).get("Description", "")
        for name, version in self.of_type("AWS::Lambda::Version"):
            published = parameters(version.get("Description", ""))
            for parameter in sorted(used & set(self.template["Parameters"]) - published - UNVERSIONED):
                if not re.search(rf"\b{parameter}\b", told):
                    self.say(name, f"a change of {parameter} publishes no version, and Revision does not say so")
            if "Revision" not in published:
                self.say(name, "nothing publishes a version where nobody sees the change")

    def topics(self):
        for name, properties in self.of_type("AWS::SNS::TopicPolicy"):
            for statement in properties["PolicyDocument"]["Statement"]:
                if statement["Principal"] != {"Service": "cloudwatch.amazonaws.com"} or "Condition" not in statement:
                    self.say(name, "others than the account's alarms may publish")

    def dashboards(self):
        for name, properties in self.of_type("AWS::CloudWatch::Dashboard"):
            for body in bodies(properties["DashboardBody"]):
                try:
                    widgets = json.loads(body)["widgets"]
                except (ValueError, KeyError) as error:
                    self.say(name, f"its body cannot be read: {error}")
                    continue
                taken = set()
                for widget in widgets:
                    place = {
                        (widget["x"] + x, widget["y"] + y) for x in range(widget["width"]) for y in range(widget["height"])
                    }
                    if place & taken or widget["x"] + widget["width"] > 24:
                        self.say(name, f"{widget['properties']['title']} covers another one")
                    taken |= place

    def names(self):
        """Everything that is declared is used."""
        used = {"Parameters": set(), "Conditions": set(), "Mappings": set()}
        places = [self.template.get(kind, {}) for kind in ["Resources", "Conditions", "Outputs"]]
        used["Parameters"] = parameters(places)
        used["Conditions"] = tested(places)
        for node in (node for node in nodes(places) if isinstance(node, dict)):
            if isinstance(node.get("Condition"), str):
                used["Conditions"].add(node["Condition"])
            if "Fn::FindInMap" in node:
                used["Mappings"].add(node["Fn::FindInMap"][0])
        for kind, names in used.items():
            for name in set(self.template.get(kind, {})) - names:
                self.say(name, "is never used")


def bodies(body):
    """The texts that a body may become, with every ${Name} by its name."""
    sub = body["Fn::Sub"]
    text, variables = sub if isinstance(sub, list) else (sub, {})
    results = [text]
    for name, value in variables.items():
        values = [choice if isinstance(choice, str) else bodies(choice)[0] for choice in choices(value)]
        results = [result.replace("${" + name + "}", value) for result in results for value in values]
    return [re.sub(r"\$\{([^}]*)\}", r"\1", result) for result in results]


# Mistakes of which no linter finds any, and a few that matter too much to leave to one: file, what stands there, what instead.
MISTAKES = [
    ("wiring", "lambda.alarms.cloudwatch.amazonaws.com", "lambda.alarms.cloudwatch.amazonaws.con"),
    ("wiring", "Principal: events.amazonaws.com", "Principal: scheduler.amazonaws.com"),
    ("wiring", "rate(5 minutes)", "rate(5 bananas)"),
    ("wiring", "rate(1 minute)", "rate(1 minutes)"),
    ("wiring", "rate(2 minutes)", "rate(3 minutes)"),
    ("wiring", "FailingPeriod: 360", "FailingPeriod: 300"),
    ("wiring", "!FindInMap [Windows, !Ref Window, FailingPeriod]", "!Ref Window"),
    ("wiring", "DatapointsToAlarm: 2", "DatapointsToAlarm: 1"),
    ("wiring", "MetricName: Errors", "MetricName: Duration"),
    ("wiring", "TreatMissingData: breaching", "TreatMissingData: ignore"),
    ("wiring", "[!Ref WakeTopic]", "[not-an-arn]"),
    ("wiring", "- [!Sub 'arn:${AWS::Partition}:lambda", "- [!Sub 'arn:${AWS::Partition}:lambada"),
    ("wiring", "Resource: !Sub arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${FunctionName}:live", "Resource: '*'"),
    ("wiring", "MaximumRetryAttempts: 0\n      MaximumEventAgeInSeconds", "MaximumRetryAttempts: 2\n      MaximumEventAgeInSeconds"),
    ("wiring", "Mode: 'OFF'", "Mode: FLEXIBLE, MaximumWindowInMinutes: 5"),
    ("wiring", "Qualifier: live", "Qualifier: $LATEST"),
    ("wiring", "!FindInMap [Windows, !Ref Window, Rate]", "rate(1 minute)"),
    ("wiring", "Value: !Ref QueueName", "Value: !Ref FunctionName"),
    ("wiring", "      SourceArn: !GetAtt QueueAlarm.Arn\n", ""),
    ("wiring", "      SourceAccount: !Ref AWS::AccountId\n", ""),
    ("wiring", "Principal: {Service: cloudwatch.amazonaws.com}", "Principal: '*'"),
    ("wiring", '"yAxis": {"left": {"min": 0}}, "metrics"', '"yAxis": {"left": {"min": 0}} "metrics"'),
    ("wiring", '["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${QueueName}"],', '["AWS/SQS"]'),
    ("access", "Type: STANDARD", "Type: STANDRAD"),
    ("access", "KubernetesGroups: [outrigger]", "KubernetesGroups: [system:masters]"),
    ("access", "Principal: {Service: lambda.amazonaws.com}", "Principal: {Service: lambda.amazonaws.com, AWS: '*'}"),
    ("access", "Action: sqs:GetQueueAttributes", "Action: sqs:*"),
    ("access", "Resource: !Ref QueueArns", "Resource: '*'"),
    ("access", "Resource: !Ref AssumeRoleArns", "Resource: arn:aws:iam::*:role/outrigger"),
    ("access", "    Condition: MakesAccessEntry\n", ""),
    ("account", "Principal: {AWS: !Ref FunctionRoleArn}", "Principal: {AWS: '*'}"),
    ("account", "Resource: !Ref QueueArns", "Resource: '*'"),
    ("account", "    Condition: MakesAccessEntry\n", ""),
    ("template", "Timeout: 75", "Timeout: 60"),
    ("template", "Timeout: !FindInMap [Windows, !Ref Window, Timeout]", "Timeout: 75"),
    ("template", "OUTRIGGER_WINDOW: !Ref Window", "OUTRIGGER_WINDOW: 120"),
    ("template", "Runtime: provided.al2023", "Runtime: provided.al2"),
    ("template", "Arn: !Ref Function.Alias", "Arn: !GetAtt Function.Arn"),
    ("template", "FunctionName: !Ref Function.Alias", "FunctionName: !Ref Function"),
    ("template", "      AutoPublishAlias: live\n      AutoPublishAliasAllProperties: true\n", ""),
    ("template", "OUTRIGGER_NAMESPACE: !Ref Namespace", "OUTRIGGER_NAMESPACE: default"),
    ("template", " window ${Window},", ""),
    ("template", ", metrics ${Metrics}", ""),
    ("template", "Config, Roles, Queues, Expressions, Namespace,", "Config, Roles, Expressions, Namespace,"),
    ("template", "!Sub revision ${Revision}, ", "!Sub "),
    ("template", "!If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n      VpcConfig", "!If [HasKey, !Ref NotifyTopicArn, !Ref AWS::NoValue]\n      VpcConfig"),
    ("template", "Period: !FindInMap [Windows, !Ref Window, FailingPeriod]", "Period: 60"),
]


def main():
    folder, *paths = map(pathlib.Path, sys.argv[1:])
    texts = {path.stem: path.read_text() for path in paths}
    failed = 0
    for name, text in texts.items():
        template = expand(text)
        (folder / f"{name}.json").write_text(json.dumps(template, indent=1))
        problems = Check(template).run()
        for problem in problems:
            print(f"{name}.yaml: {problem}", file=sys.stderr)
        failed += len(problems)
    shipped = {path.stem for path in paths if path.resolve().parent == SHIPPED}
    mistakes = [mistake for mistake in MISTAKES if mistake[0] in shipped]
    for name, right, wrong in mistakes:
        mistaken = texts[name].replace(right, wrong, 1)
        if mistaken == texts[name]:
            print(f"{name}.yaml has no {right!r} to be mistaken in", file=sys.stderr)
            failed += 1
            continue
        try:
            template = expand(mistaken)
        except InvalidDocumentException:
            # SAM notices.
            continue
        if not Check(template).run():
            print(f"{name}.yaml: nobody would notice {wrong!r}", file=sys.stderr)
            failed += 1
    print(f"{len(texts)} templates hold; {len(mistakes)} mistakes would be noticed" if not failed else f"{failed} problems")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
