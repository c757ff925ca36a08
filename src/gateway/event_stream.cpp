#include "gateway/event_stream.h"

#include <algorithm>
#include <array>

#include "domain/json.h"

namespace mayfly::gateway {
namespace {

constexpr std::size_t kPayloadMax = 1 << 20;

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    table[i] = i;
    for (int bit = 0; bit < 8; ++bit) table[i] = (table[i] & 1 ? 0xEDB88320 : 0) ^ table[i] >> 1;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kTable = make_table();

void add_number(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift & 0xff));
}

// One header: its name and a text (type 7).
void add_header(std::string& out, std::string_view name, std::string_view value) {
  out.push_back(static_cast<char>(name.size()));
  out.append(name);
  out.push_back(7);
  out.push_back(static_cast<char>(value.size() >> 8));
  out.push_back(static_cast<char>(value.size() & 0xff));
  out.append(value);
}

}  // namespace

std::uint32_t crc32(std::string_view bytes, std::uint32_t before) {
  std::uint32_t crc = ~before;
  for (const char c : bytes) crc = kTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xff] ^ crc >> 8;
  return ~crc;
}

void add_event(std::string& out, std::string_view type, std::string_view content_type, std::string_view payload) {
  std::string headers;
  add_header(headers, ":event-type", type);
  add_header(headers, ":content-type", content_type);
  add_header(headers, ":message-type", "event");
  const std::size_t at = out.size();
  add_number(out, static_cast<std::uint32_t>(16 + headers.size() + payload.size()));
  add_number(out, static_cast<std::uint32_t>(headers.size()));
  add_number(out, crc32(std::string_view(out).substr(at)));
  out.append(headers).append(payload);
  add_number(out, crc32(std::string_view(out).substr(at)));
}

void add_payload(std::string& out, std::string_view bytes) {
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kPayloadMax)))
    add_event(out, "PayloadChunk", "application/octet-stream", bytes.substr(0, kPayloadMax));
}

void add_complete(std::string& out, const InvokeComplete& end) {
  nlohmann::json json = nlohmann::json::object();
  if (!end.error_code.empty()) json["ErrorCode"] = end.error_code;
  if (!end.error_details.empty()) json["ErrorDetails"] = end.error_details;
  if (!end.log_result.empty()) json["LogResult"] = end.log_result;
  add_event(out, "InvokeComplete", "application/json", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace mayfly::gateway
