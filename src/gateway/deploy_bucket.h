// The deploy bucket in the words of Amazon S3's REST API, path-style: what tools that deploy upload their zips and templates by. Put, get,
// head, delete, ListObjectsV2, uploads in parts, and the few questions about a bucket that their SDKs ask. What else S3 has is refused as
// NotImplemented. Objects are control/deploys.h's; bytes go the way of every artifact.
//
// A request is one of S3's if its signature says so (is_s3): other paths of the node are never buckets. Where the node has keys, the
// signature must be right, the body have the hash that it says, and chunks that are signed one by one are refused.
// Promises: bytes are checked against x-amz-checksum-crc32, -sha256 and x-amz-content-sha256 where these are said; an upload in parts
// that is not completed is forgotten after a day, and at a restart.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/turn.h"
#include "control/deploys.h"
#include "gateway/router.h"
#include "gateway/sigv4.h"
#include "os/loop.h"

namespace mayfly::gateway {

class DeployBucket {
 public:
  DeployBucket(control::Control& control, control::Deploys& deploys, os::Loop& loop, const Turn& turn, const sigv4::Keys& keys);
  void add_routes(Router& router);
  // Signed for s3, and none of the node's own paths.
  [[nodiscard]] static bool is_s3(const HttpRequest& request);

 private:
  struct Target {
    std::string bucket, key;
  };
  struct Parts {                                     // an upload in parts, under way
    Target target;
    std::string headers;
    std::map<int, domain::FileRef> parts;
    std::uint64_t size = 0;
    WallTime begun;
  };
  struct Put;                                        // one body on its way
  class Sink;
  [[nodiscard]] Result<Target> target_of(const HttpRequest& request) const;
  [[nodiscard]] bool let_in(const HttpRequest& request, const Responder& to) const;
  std::unique_ptr<UploadSink> put(HttpRequest& request, const Responder& to);
  void kept(const Put& put, const domain::FileRef& file);
  void get(HttpRequest& request, const Responder& to);
  void send(const Responder& to, std::string sha256, std::uint64_t offset, std::uint64_t end);
  void list(const HttpRequest& request, const Responder& to, const std::string& bucket);
  void post(HttpRequest& request, const Responder& to);
  void remove(HttpRequest& request, const Responder& to);
  void begin_parts(const HttpRequest& request, const Responder& to, Target target);
  void complete_parts(const HttpRequest& request, const Responder& to, const Target& target, const std::string& id);
  void remove_several(const HttpRequest& request, const Responder& to, const std::string& bucket);

  control::Control& control_;
  control::Deploys& deploys_;
  os::Loop& loop_;
  const Turn& turn_;
  const sigv4::Keys& keys_;
  Random random_;
  std::map<std::string, Parts, std::less<>> uploads_;      // by UploadId
};

}  // namespace mayfly::gateway
