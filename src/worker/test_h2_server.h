// For tests: a program that serves HTTP/2 without TLS as a script tells it, on the loop of the test; its frames are libnghttp2's.
#pragma once
#include <nghttp2/nghttp2.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "worker/test_http_server.h"

namespace mayfly::worker {

class TestH2Server {
 public:
  struct Request {
    std::size_t connection = 0;
    std::int32_t stream = 0;
    std::map<std::string, std::string> headers{};
    std::string body{};
  };
  struct Reply {
    std::string status = "200";
    std::vector<std::pair<std::string, std::string>> headers{};
    std::string body{};
    bool hold = false;                 // it comes later, by answer()
    std::uint32_t reset = 0;           // instead of it
    std::int32_t last_stream = -1;     // of a GOAWAY before it; -1: none
    bool close = false;                // behind what is sent
    bool around = false;               // with an interim answer before and a trailer behind
  };
  using Script = std::function<Reply(const Request&)>;

  TestH2Server(os::Loop& loop, Script script)
      : script_(std::move(script)),
        server_(loop, [this](std::size_t connection, std::string_view come) { return feed(connection, come); }) {}

  const std::string& address() const { return server_.address(); }
  std::size_t connections() const { return server_.connections(); }
  bool left(std::size_t connection) const { return server_.left(connection); }
  void close(std::size_t connection) { server_.close(connection); }
  // Of a stream that was held.
  void answer(std::size_t connection, std::int32_t stream, const Reply& reply) {
    submit(*peers_.at(connection), stream, reply);
    server_.say(connection, out_of(*peers_.at(connection)));
  }

  bool at_head = false;                // it answers before it has the request's body
  std::vector<std::pair<std::int32_t, std::uint32_t>> closed;  // streams as they closed, with the code

 private:
  struct Free {
    void operator()(nghttp2_session* session) const { ::nghttp2_session_del(session); }
  };
  struct Peer {
    TestH2Server* in = nullptr;
    std::size_t number = 0, fed = 0;
    bool close = false;
    std::unique_ptr<nghttp2_session, Free> session{};
    std::map<std::int32_t, Request> requests{};
    std::map<std::int32_t, std::pair<Reply, std::size_t>> replies{};   // with how much of the body is sent
  };

  Peer& peer(std::size_t connection) {
    auto& made = peers_[connection];
    if (made) return *made;
    made = std::make_unique<Peer>(Peer{.in = this, .number = connection});
    nghttp2_session_callbacks* callbacks = nullptr;
    ::nghttp2_session_callbacks_new(&callbacks);
    ::nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](auto*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value,
                      std::size_t value_size, std::uint8_t, void* self) {
          auto& request = static_cast<Peer*>(self)->requests[frame->hd.stream_id];
          request.headers[std::string(reinterpret_cast<const char*>(name), name_size)] =
              std::string(reinterpret_cast<const char*>(value), value_size);
          return 0;
        });
    ::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](auto*, std::uint8_t, std::int32_t stream, const std::uint8_t* data, std::size_t size, void* self) {
          static_cast<Peer*>(self)->requests[stream].body.append(reinterpret_cast<const char*>(data), size);
          return 0;
        });
    ::nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, [](auto*, const nghttp2_frame* frame, void* self) {
      Peer& of = *static_cast<Peer*>(self);
      return of.in->took(of, *frame);
    });
    ::nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, [](auto*, std::int32_t stream, std::uint32_t code, void* self) {
      static_cast<Peer*>(self)->in->closed.emplace_back(stream, code);
      return 0;
    });
    nghttp2_session* session = nullptr;
    nghttp2_option* option = nullptr;
    ::nghttp2_option_new(&option);
    ::nghttp2_option_set_max_send_header_block_length(option, 1 << 20);  // more than anybody takes
    ::nghttp2_session_server_new2(&session, callbacks, made.get(), option);
    ::nghttp2_option_del(option);
    ::nghttp2_session_callbacks_del(callbacks);
    made->session.reset(session);
    ::nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0);
    return *made;
  }

  int took(Peer& of, const nghttp2_frame& frame) {
    if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return 0;
    Request& request = of.requests[frame.hd.stream_id];
    request.connection = of.number;
    request.stream = frame.hd.stream_id;
    const bool due = at_head ? frame.hd.type == NGHTTP2_HEADERS : (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (!due) return 0;
    if (const Reply reply = script_(request); !reply.hold) submit(of, frame.hd.stream_id, reply);
    return 0;
  }

  static void submit(Peer& of, std::int32_t stream, const Reply& reply) {
    of.close = of.close || reply.close;
    if (reply.last_stream >= 0)
      ::nghttp2_submit_goaway(of.session.get(), NGHTTP2_FLAG_NONE, reply.last_stream, NGHTTP2_NO_ERROR, nullptr, 0);
    if (reply.reset) return void(::nghttp2_submit_rst_stream(of.session.get(), NGHTTP2_FLAG_NONE, stream, reply.reset));
    if (reply.close || reply.last_stream >= 0) return;
    const auto& kept = of.replies.insert_or_assign(stream, std::pair{reply, std::size_t{0}}).first->second.first;
    if (kept.around) send_headers(of, stream, {{":status", "103"}, {"early", "yes"}});
    std::vector<std::pair<std::string, std::string>> headers{{":status", kept.status}};
    headers.insert(headers.end(), kept.headers.begin(), kept.headers.end());
    const auto fields = fields_of(headers);
    const nghttp2_data_provider body{.source = {.ptr = &of},
                                     .read_callback = [](auto* session, std::int32_t id, std::uint8_t* into, std::size_t size,
                                                         std::uint32_t* flags, nghttp2_data_source* source, void*) {
                                       auto& [said, sent] = static_cast<Peer*>(source->ptr)->replies[id];
                                       const std::string_view piece = std::string_view(said.body).substr(sent, size);
                                       std::copy(piece.begin(), piece.end(), into);
                                       sent += piece.size();
                                       if (sent < said.body.size()) return static_cast<ssize_t>(piece.size());
                                       *flags |= NGHTTP2_DATA_FLAG_EOF;
                                       if (said.around) {
                                         *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                                         const std::vector<std::pair<std::string, std::string>> trailers{{"x-trailer", "dropped"}};
                                         ::nghttp2_submit_trailer(session, id, fields_of(trailers).data(), 1);
                                       }
                                       return static_cast<ssize_t>(piece.size());
                                     }};
    ::nghttp2_submit_response(of.session.get(), stream, fields.data(), fields.size(), &body);
  }

  static void send_headers(Peer& of, std::int32_t stream, const std::vector<std::pair<std::string, std::string>>& headers) {
    ::nghttp2_submit_headers(of.session.get(), NGHTTP2_FLAG_NONE, stream, nullptr, fields_of(headers).data(), headers.size(), nullptr);
  }
  static std::vector<nghttp2_nv> fields_of(const std::vector<std::pair<std::string, std::string>>& headers) {
    std::vector<nghttp2_nv> fields;
    const auto bytes = [](const std::string& text) {
      return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
    };
    for (const auto& [name, value] : headers)
      fields.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    return fields;
  }

  static std::string out_of(Peer& of) {
    std::string out;
    const std::uint8_t* bytes = nullptr;
    for (ssize_t size; (size = ::nghttp2_session_mem_send(of.session.get(), &bytes)) > 0;)
      out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    return out;
  }

  TestHttpServer::Answer feed(std::size_t connection, std::string_view come) {
    Peer& of = peer(connection);
    const std::string_view fresh = come.substr(of.fed);
    ::nghttp2_session_mem_recv(of.session.get(), reinterpret_cast<const std::uint8_t*>(fresh.data()), fresh.size());
    TestHttpServer::Answer answer{out_of(of), of.close};
    of.fed = answer.bytes.empty() ? come.size() : 0;
    return answer;
  }

  Script script_;
  std::map<std::size_t, std::unique_ptr<Peer>> peers_;
  TestHttpServer server_;
};

}  // namespace mayfly::worker
