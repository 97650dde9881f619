"""`computer_use`: which functions a model is given for which environment, and what is refused."""

from __future__ import annotations

import pytest

from antiphon import schemas, wire
from antiphon.computer_use import INSTRUCTIONS, functions

POINT = {"x": 450, "y": 120, "intent": "Open the menu."}

# Every function of the API's page, with arguments as its samples and tables give them.
CALLS = {
    **{name: POINT for name in ("click", "double_click", "triple_click", "middle_click", "right_click")},
    **{name: POINT for name in ("mouse_down", "mouse_up", "move")},
    "type": {"text": "Hawaii", "press_enter": True, "intent": "Enter the place."},
    "drag_and_drop": {"start_y": 1, "start_x": 2, "end_y": 998, "end_x": 999, "intent": "Sort."},
    "wait": {"seconds": 2, "intent": "Let it load."},
    "press_key": {"key": "Enter", "intent": "Send."},
    "key_down": {"key": "Shift", "intent": "Select."},
    "key_up": {"key": "Shift", "intent": "Select."},
    "hotkey": {"keys": ["Control", "A"], "intent": "Select all."},
    "take_screenshot": {"intent": "Look."},
    "scroll": {"y": 5, "x": 5, "direction": "down", "magnitude_in_pixels": 300, "intent": "See more."},
    "go_back": {"intent": "Return."},
    "navigate": {"url": "https://a.example", "intent": "Begin."},
    "go_forward": {"intent": "Go on."},
    "open_app": {"app_name": "Clock", "intent": "Set an alarm."},
    "list_apps": {"intent": "See what is there."},
    "long_press": {**POINT, "seconds": 3},
}
DESKTOP = set(CALLS) - {"go_back", "navigate", "go_forward", "open_app", "list_apps", "long_press"}
ENVIRONMENTS = {
    "browser": DESKTOP | {"go_back", "navigate", "go_forward"},
    "desktop": DESKTOP,
    "mobile": {
        "open_app", "click", "list_apps", "wait", "go_back", "type", "drag_and_drop", "long_press", "press_key",
        "take_screenshot",
    },
}  # fmt: skip


def of(**fields):
    return {function.name: function for function in functions(wire.ComputerUse(**fields), "tools[0]")}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_environment_has_the_functions_that_the_api_names(environment):
    assert of(environment=environment).keys() == ENVIRONMENTS[environment]


def test_a_browser_is_meant_where_nothing_is_named():
    assert of() == of(environment="browser")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_function_takes_the_documented_arguments_and_no_others(environment):
    for name, function in of(environment=environment).items():
        parameters = function.parameters or {}
        assert schemas.malformed(parameters) is None
        assert schemas.violation(CALLS[name], parameters) is None
        assert parameters["properties"].keys() == CALLS[name].keys()
        assert schemas.violation({**CALLS[name], "intent": 5}, parameters) is not None


@pytest.mark.parametrize("x", [-1, 1000, 0.5, "5", None])
def test_a_coordinate_is_a_whole_number_from_0_to_999(x):
    assert schemas.violation({**POINT, "x": x}, of()["click"].parameters or {}) is not None


@pytest.mark.parametrize(
    ("name", "optional"), [("type", "press_enter"), ("wait", "seconds"), ("scroll", "magnitude_in_pixels")]
)
def test_what_has_a_default_may_be_left_out(name, optional):
    arguments = {key: value for key, value in CALLS[name].items() if key != optional}
    assert schemas.violation(arguments, of()[name].parameters or {}) is None


def test_excluded_functions_are_not_offered():
    assert of().keys() - of(excluded_predefined_functions=["drag_and_drop", "navigate"]).keys() == {
        "drag_and_drop",
        "navigate",
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"environment": "mobile", "excluded_predefined_functions": ["click", "scroll"]},
            r"'scroll' at 'tools\[0\].excluded_predefined_functions\[1\]' is no function of the environment 'mobile'",
        ),
        ({"excluded_predefined_functions": ["click_at"]}, "'click_at' at .* Its functions: click, double_click"),
        (
            {"enable_prompt_injection_detection": True},
            r"'tools\[0\].enable_prompt_injection_detection' is not supported",
        ),
        (
            {"disabled_safety_policies": ["data_modification"]},
            r"'tools\[0\].disabled_safety_policies' is not supported",
        ),
    ],
)
def test_what_this_server_does_not_do_is_refused_with_its_place(fields, words):
    with pytest.raises(wire.InvalidRequest, match=words):
        of(**fields)


def test_settings_that_ask_for_nothing_are_no_fault():
    assert of(enable_prompt_injection_detection=False, disabled_safety_policies=[], excluded_predefined_functions=[])


def test_the_model_is_told_how_coordinates_are_counted():
    assert "0 to 999" in INSTRUCTIONS
