// A template of AWS SAM, template.yaml, as the functions that it describes: what `mayfly deploy` needs of it, and what of it is not made
// here. Reads the disk; sends nothing.
//
// Taken: AWS::Serverless::Function and AWS::Lambda::Function whose code is a folder or an archive beside the template, with Globals and
// FunctionUrlConfig; !Ref and !Sub of parameters with a default, of pseudo parameters, and of functions; !GetAtt FUNCTION.Arn; and layers
// (LayerVersion of both kinds) with their content beside it. What a function needs and can't have here, like a file system, is an error
// that names it; other resources and events are notes.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace mayfly::app {

struct SamLayer {
  std::string resource, name, description;
  std::string path;                  // a folder or an archive
};
struct SamLayerRef {                 // one of the template, by its logical id; else a text, as a manifest has it
  std::string resource, text;
};

struct SamFunction {
  std::string resource;              // its logical id
  std::string name;                  // FunctionName, or of the logical id: HelloWorldFunction is hello-world-function
  std::string path;                  // of its code: a folder or an archive; or docker://IMAGE
  std::string runtime, handler;
  std::string memory, timeout;       // as a manifest has them: "128MiB", "3s"
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<SamLayerRef> layers;
  std::string url;                   // FunctionUrlConfig, as the JSON that Lambda's API takes; "": none
};

struct SamTemplate {
  std::vector<SamLayer> layers;
  std::vector<SamFunction> functions;
  std::vector<std::string> notes;    // what is in it and is not made
};

// The template that a path means: the file itself, or template.yaml (.yml, .json) in a folder without a manifest. "": none.
[[nodiscard]] std::string find_sam(const std::string& path);
[[nodiscard]] Result<SamTemplate> read_sam(const std::string& file);

}  // namespace mayfly::app
