#include "base/http_date.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

// RFC 9110's example, and a day of one figure.
TEST(HttpDate, IsThatOfTheStandard) {
  EXPECT_EQ(http_date({std::chrono::seconds(784'111'777)}), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(http_date({std::chrono::seconds(0)}), "Thu, 01 Jan 1970 00:00:00 GMT");
}

}  // namespace
}  // namespace mayfly
