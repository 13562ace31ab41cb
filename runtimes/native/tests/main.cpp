// The program of the unit tests, all tests/test_*.cpp in one.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
