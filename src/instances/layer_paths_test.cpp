#include "instances/detail/layer_paths.h"

#include <gtest/gtest.h>

namespace mayfly::instances {
namespace {

std::vector<std::string> paths(std::string_view runtime, std::string_view handler, std::vector<std::string> own = {},
                               domain::Contract contract = domain::Contract::lambda) {
  domain::CodeOrder code{.environment = std::move(own), .contract = contract};
  add_layer_paths(code, runtime, handler);
  return code.environment;
}

using Words = std::vector<std::string>;

TEST(LayerPaths, AreThoseOfLambdasRuntimes) {
  EXPECT_EQ(paths("python3.11", "a.b"),
            (Words{"PYTHONPATH=/opt/python/lib/python3.11/site-packages:/opt/python", "LD_LIBRARY_PATH=/opt/lib"}));
  EXPECT_EQ(paths("nodejs22.x", "a.b"),
            (Words{"NODE_PATH=/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules", "LD_LIBRARY_PATH=/opt/lib"}));
  EXPECT_EQ(paths("provided.al2023", ""), (Words{"LD_LIBRARY_PATH=/opt/lib"}));
}

TEST(LayerPaths, StandBehindTheUsersOwn) {
  EXPECT_EQ(paths("python3.11", "a.b", {"PYTHONPATH=lib", "LD_LIBRARY_PATH="}),
            (Words{"PYTHONPATH=lib:/opt/python/lib/python3.11/site-packages:/opt/python", "LD_LIBRARY_PATH=/opt/lib"}));
}

TEST(LayerPaths, OfProgramsThatServeHttpAreByWhatTheyRun) {
  EXPECT_EQ(paths("http", "python3 server.py", {}, domain::Contract::http),
            (Words{"PYTHONPATH=/opt/python", "LD_LIBRARY_PATH=/opt/lib", "PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin"}));
  EXPECT_EQ(paths("azure-python3.11", "", {"PATH=/x"}, domain::Contract::azure),
            (Words{"PATH=/x:/opt/bin", "PYTHONPATH=/opt/python/lib/python3.11/site-packages:/opt/python", "LD_LIBRARY_PATH=/opt/lib"}));
}

}  // namespace
}  // namespace mayfly::instances
