from photometry.io.facts import read_facts
from photometry.sky.anomalies import Exclude


def test_every_exclude_is_a_rule_with_a_reason():
    rules = [Exclude(**rule) for rule in read_facts("exclude")["exclude"]]
    assert len(rules) >= 2 and all(rule.reason for rule in rules)
    assert {rule.camera for rule in rules} == {1}
