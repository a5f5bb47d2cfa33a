import pytest

from photometry.core.starids import FIRST_MADE_UP, LARGEST, starid_of


@pytest.mark.parametrize(("text", "number"), [
    ("182092046", 182092046), (" TIC 182092046 ", 182092046), ("tic182092046", 182092046),
    ("6917529027641081855", 6917529027641081855), (str(LARGEST), LARGEST), ("007", 7)])
def test_whole_numbers_stand_for_themselves(text, number):
    assert starid_of(text) == number


@pytest.mark.parametrize("text", [str(LARGEST + 1), "9" * 40, "0", "-5", "2.5", "HD 39091",
                                  "Gaia DR3 5731246381742426496", "2MASS J05371091-8028086"])
def test_other_identifiers_get_a_number_above_those_of_all_catalogs(text):
    number = starid_of(text)
    assert FIRST_MADE_UP <= number <= LARGEST
    assert number == starid_of(f"  {text} ")
    assert FIRST_MADE_UP > 12 * 2**59 - 1       # the largest of Gaia


def test_made_up_numbers_differ_and_stay():
    assert len({starid_of(f"star {number}") for number in range(20_000)}) == 20_000
    assert starid_of("HD 39091") == 8836522063467139629
