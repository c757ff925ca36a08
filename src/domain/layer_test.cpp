#include "domain/layer.h"

#include <gtest/gtest.h>

#include "domain/arn.h"
#include "domain/manifest.h"

namespace mayfly::domain {
namespace {

std::string read(std::string_view text) {
  const auto layer = parse_layer(text);
  return layer ? to_text(*layer) : "refused";
}

TEST(Layer, IsNamedByNameOrArn) {
  EXPECT_EQ(read("tools"), "tools");
  EXPECT_EQ(read("My_Tools-1:12"), "My_Tools-1:12");
  EXPECT_EQ(read(layer_arn("tools", 3)), "tools:3");
  EXPECT_EQ(read("arn:aws-cn:lambda:cn-north-1:123456789012:layer:tools:3"), "tools:3");
  for (const char* wrong : {"", ":", "a.b", "../x", "a/b:1", "tools:", "tools:0", "tools:-1", "tools:1x", "tools:1:2", "tools:99999999999",
                            "arn:aws:lambda:us-east-1:000000000000:layer:tools", "arn:aws:lambda:us-east-1:000000000000:function:f:1",
                            "arn:aws:s3:us-east-1:000000000000:layer:tools:1", "arn:aws:lambda:x:layer:tools:1"})
    EXPECT_EQ(read(wrong), "refused") << wrong;
  EXPECT_EQ(read(std::string(140, 'a')), std::string(140, 'a'));
  EXPECT_EQ(read(std::string(141, 'a')), "refused");
}

std::string manifest(const std::string& rest) {
  const auto read = parse_manifest("runtime: python3.11\nhandler: a.b\n" + rest);
  if (!read) return read.error().message;
  std::string all;
  for (const std::string& layer : read->layers) all += layer + " ";
  const auto again = manifest_from_json(to_json(*read));
  EXPECT_TRUE(again && *again == *read);
  return all;
}

TEST(Layer, StandsInAManifest) {
  EXPECT_EQ(manifest("layers: [tools, 'more:2', 'arn:aws:lambda:us-east-1:000000000000:layer:third:7']"), "tools more:2 third:7 ");
  EXPECT_NE(manifest("layers: [a, b, c, d, e, f]").find("Cannot reference more than 5 layers."), std::string::npos);
  EXPECT_NE(manifest("layers: [a, 'a:2']").find("Two different versions of the same layer"), std::string::npos);
  EXPECT_NE(manifest("layers: tools").find("a list of layers is wanted"), std::string::npos);
  EXPECT_NE(manifest("layers: [../x]").find("is no layer"), std::string::npos);
  EXPECT_FALSE(parse_manifest("model: a.onnx\nlayers: [tools]"));
  EXPECT_FALSE(parse_manifest("runtime: container-http\nimage: {command: [x]}\nlayers: [tools]"));
}

}  // namespace
}  // namespace mayfly::domain
