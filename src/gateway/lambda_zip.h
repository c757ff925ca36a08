// The code or the layer that a request of AWS Lambda's API brings: a zip in its body, in base64, or the name of an object in the store
// that the node's configuration names. Either becomes an artifact (control/control.h); what is long is decoded, hashed and fetched on
// other threads than the loop's. Driven by lambda_code.h and lambda_layers.h.
#pragma once
#include <string>

#include "control/control.h"
#include "gateway/lambda_forms.h"

namespace mayfly::gateway::lambda {

constexpr std::uint64_t kRequestMax = 70 << 20;   // of a zip file of 50 MiB in base64, as there

// Cuts a long "ZipFile" out of JSON text, which is then quick to parse: leaves "" in its place and returns its base64; "" where
// there is none over 64 KiB.
[[nodiscard]] std::string cut_zip(std::string& body);

struct ZipSource {
  std::string base64;            // of the zip itself; "": it is
  control::ObjectName object;
};
// What `holder` says of it: the object of a body that has ZipFile or S3Bucket. `cut` is what was cut out before.
[[nodiscard]] Result<ZipSource> zip_in(const Json& holder, std::string cut);
// The artifact; its path is `name`.
void upload_zip(control::Control& control, ZipSource source, const std::string& name, control::Done<domain::FileRef> done);

}  // namespace mayfly::gateway::lambda
