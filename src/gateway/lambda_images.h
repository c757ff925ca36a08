// PackageType Image in AWS Lambda's operations: Code.ImageUri and ImageConfig of a body become a manifest whose image is still to be
// pulled (control/control.h, deploy), and what a version was pulled from is told again. Pure. Driven by lambda_code.h and lambda_api.h.
#pragma once
#include "domain/function.h"
#include "domain/manifest.h"
#include "gateway/lambda_forms.h"

namespace mayfly::gateway::lambda {

// Of CreateFunction: "Image"; false for "Zip", or where it says nothing.
[[nodiscard]] Result<bool> is_image(const Json& body);
// What of UpdateFunctionCode, or of CreateFunction's Code, names a package of the other kind, is refused; `image`: what the function is.
[[nodiscard]] Result<void> check_package(const Json& code, bool image);
// ImageUri. Its own program holds again, under what the function's ImageConfig says.
[[nodiscard]] Result<void> set_image(const Json& code, domain::Manifest& manifest);
// Runtime, Handler and Layers, which an image has not; and ImageConfig, all of it anew, which only an image has.
[[nodiscard]] Result<void> set_image_config(const Json& body, domain::Manifest& manifest);

[[nodiscard]] Json code_of(const domain::Version& version);                 // GetFunction's Code
[[nodiscard]] Json image_config_of(const domain::ImageInstead& instead);    // ImageConfig; null where nothing is said

}  // namespace mayfly::gateway::lambda
