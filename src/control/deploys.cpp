#include "control/deploys.h"

#include <algorithm>

#include "control/detail/behind.h"

namespace mayfly::control {
namespace {

constexpr std::uint64_t kPiece = 1 << 20;
constexpr std::size_t kKeyMax = 1024, kPartsMax = 10'000;

}  // namespace

Deploys::Deploys(const Turn& turn, store::Store& store, Background catalog, Background bulk, DeployLimits limits)
    : turn_(turn), store_(store), catalog_work_(std::move(catalog)), bulk_work_(std::move(bulk)), limits_(std::move(limits)) {}

Result<void> Deploys::open() {
  TRY(auto objects, store_.deploys().load_objects());
  for (Object& object : objects) {
    size_ += object.size.count;
    objects_.emplace(std::pair(object.bucket, object.key), std::move(object));
  }
  TRY(stacks_, store_.deploys().load_stacks());
  return {};
}

Result<void> Deploys::check_bucket(std::string_view bucket) const {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const bool named = bucket.size() >= 3 && bucket.size() <= 63 && plain(bucket.front()) && plain(bucket.back()) &&
                     bucket.find("..") == bucket.npos &&
                     std::ranges::all_of(bucket, [&](char c) { return plain(c) || c == '-' || c == '.'; });
  if (!named) return fail(Code::invalid_argument, "The specified bucket is not valid: '" + std::string(bucket.substr(0, 63)) + "'");
  if (limits_.buckets.empty() || std::ranges::find(limits_.buckets, bucket) != limits_.buckets.end()) return {};
  return fail(Code::not_found, "The specified bucket does not exist: this node's configuration (deploy_bucket.buckets) names others");
}

Result<void> Deploys::check_key(std::string_view key) {
  if (!key.empty() && key.size() <= kKeyMax && key.find('\0') == key.npos) return {};
  return fail(Code::invalid_argument, "a key of " + std::to_string(key.size()) + " bytes: write 1 to " + std::to_string(kKeyMax));
}

const Deploys::Object* Deploys::find(std::string_view bucket, std::string_view key) const {
  const auto at = objects_.find(std::pair(std::string(bucket), std::string(key)));
  return at == objects_.end() ? nullptr : &at->second;
}

std::optional<domain::FileRef> Deploys::file_of(std::string_view bucket, std::string_view key) const {
  const Object* object = find(bucket, key);
  if (!object || !store_.artifacts().has(object->sha256)) return std::nullopt;
  return domain::FileRef{.path = "", .sha256 = object->sha256, .size = object->size};
}

std::vector<const Deploys::Object*> Deploys::list(std::string_view bucket, std::string_view prefix, std::string_view after,
                                                  std::size_t most) const {
  std::vector<const Object*> found;
  for (auto at = objects_.lower_bound(std::pair(std::string(bucket), std::string(std::max(prefix, after))));
       at != objects_.end() && at->first.first == bucket && found.size() < most; ++at) {
    const std::string& key = at->first.second;
    if (!after.empty() && key <= after) continue;
    if (key.starts_with(prefix)) found.push_back(&at->second);
    else if (key > prefix) break;
  }
  return found;
}

std::vector<std::string> Deploys::buckets() const {
  std::vector<std::string> names;
  for (const auto& [name, object] : objects_)
    if (names.empty() || names.back() != name.first) names.push_back(name.first);
  return names;
}

Result<std::vector<Deploys::Object>> Deploys::make_room(const Object& object) const {
  std::vector<const Object*> old;
  std::vector<Object> gone;
  const Object* before = find(object.bucket, object.key);
  std::uint64_t size = size_ + object.size.count - (before ? before->size.count : 0);
  std::size_t count = objects_.size() + (before ? 0 : 1);
  for (const auto& [name, other] : objects_)
    if (&other != before && turn_.wall.since_epoch - other.modified.since_epoch > limits_.age_min) old.push_back(&other);
  std::ranges::sort(old, {}, [](const Object* o) { return o->modified.since_epoch; });
  for (const Object* other : old) {
    const bool outlived = turn_.wall.since_epoch - other->modified.since_epoch > limits_.age_max;
    if (!outlived && size <= limits_.total_max.count && count <= limits_.objects_max) break;
    size -= other->size.count;
    --count;
    gone.push_back(*other);
  }
  if (size <= limits_.total_max.count && count <= limits_.objects_max) return gone;
  return fail(Code::exhausted, "the deploy bucket is full: it holds " + std::to_string(limits_.objects_max) + " objects and " +
                                   to_text(limits_.total_max) + " at most, and what is in it is less than an hour old: delete some");
}

void Deploys::change(std::vector<Object> put, std::vector<Object> gone, Done<void> done) {
  for (const Object& object : gone) {
    const auto at = objects_.find(std::pair(object.bucket, object.key));
    if (at == objects_.end()) continue;
    size_ -= at->second.size.count;
    objects_.erase(at);
  }
  for (const Object& object : put) {
    Object& now = objects_[std::pair(object.bucket, object.key)];
    size_ += object.size.count - now.size.count;
    now = object;
  }
  behind(catalog_work_, kCatalogBusy, [this, put, gone] { return store_.deploys().change_objects(put, gone); },
         [this, put, done = std::move(done)](const Result<void>& kept) {
    if (!kept)                                               // what isn't durable isn't there
      for (const Object& object : put)
        if (const auto at = objects_.find(std::pair(object.bucket, object.key));
            at != objects_.end() && at->second.modified == object.modified && at->second.sha256 == object.sha256) {
          size_ -= at->second.size.count;
          objects_.erase(at);
        }
    done(kept);
  });
}

void Deploys::put(Object object, Done<void> done) {
  if (object.size > limits_.object_max)
    return done(fail(Code::invalid_argument, "an object of " + to_text(object.size) + "; at most " + to_text(limits_.object_max)));
  object.modified = turn_.wall;
  auto gone = make_room(object);
  if (!gone) return done(fail(gone.error()));
  change({std::move(object)}, *std::move(gone), std::move(done));
}

void Deploys::remove(std::string_view bucket, const std::vector<std::string>& keys, Done<void> done) {
  std::vector<Object> gone;
  for (const std::string& key : keys)
    if (const Object* object = find(bucket, key)) gone.push_back(*object);
  if (gone.empty()) return done({});
  change({}, std::move(gone), std::move(done));
}

void Deploys::read(const std::string& sha256, std::uint64_t offset, Done<std::string> done) {
  behind(bulk_work_, kDiskBusy, [this, sha256, offset] { return store_.artifacts().read_piece(sha256, offset, kPiece); },
         std::move(done));
}

void Deploys::join(std::vector<domain::FileRef> parts, Done<domain::FileRef> done) {
  if (parts.size() > kPartsMax) return done(fail(Code::invalid_argument, "an upload of more than " + std::to_string(kPartsMax) + " parts"));
  auto begun = store_.artifacts().begin();
  if (!begun) return done(fail(begun.error()));
  auto work = [this, parts = std::move(parts), file = std::shared_ptr<store::Upload>(*std::move(begun))]() -> Result<domain::FileRef> {
    for (const domain::FileRef& part : parts)
      for (std::uint64_t offset = 0; offset < part.size.count;) {
        TRY(const std::string bytes, store_.artifacts().read_piece(part.sha256, offset, kPiece));
        if (bytes.empty()) return fail(Code::data_loss, "a part of this upload is gone: upload it again");
        TRY_VOID(file->append(std::as_bytes(std::span(bytes))));
        offset += bytes.size();
      }
    return file->finish();
  };
  behind(bulk_work_, kDiskBusy, std::move(work), std::move(done));
}

void Deploys::put_stack(store::StackDocument stack, Done<void> done) {
  behind(catalog_work_, kCatalogBusy, [this, stack = std::move(stack)] { return store_.deploys().put_stack(stack); }, std::move(done));
}

void Deploys::remove_stack(std::string id, Done<void> done) {
  behind(catalog_work_, kCatalogBusy, [this, id = std::move(id)] { return store_.deploys().remove_stack(id); }, std::move(done));
}

}  // namespace mayfly::control
