"""What one caller may ask for is bounded, so that the others are still answered."""

from serving import ServerFactory

TRIGGER = {
    "schedule": "0 0 1 1 *",
    "time_zone": "UTC",
    "interaction": {"model": "scripted", "input": "x"},
}


def test_a_filter_may_not_be_longer_than_it_need_be(server: ServerFactory) -> None:
    answer = server().request("GET", "/v1beta/triggers?filter=" + "+AND+%22%22" * 200)
    assert answer.status == 400 and "1000 characters" in answer.error["message"]


def test_a_project_has_a_hundred_triggers_at_most(server: ServerFactory) -> None:
    one = server()
    for _ in range(100):
        assert one.request("POST", "/v1beta/triggers", TRIGGER).status == 200
    answer = one.request("POST", "/v1beta/triggers", TRIGGER)
    assert answer.status == 400 and "at most 100 triggers" in answer.error["message"]
