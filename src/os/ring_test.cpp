#include "os/ring.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <cstring>
#include <deque>
#include <string>
#include <thread>

#include "base/random.h"

namespace mayfly::os {
namespace {

// Both ends of one direction, as node and instance have them: each with its own mapping.
struct Pair {
  Pair() {
    memory = make_ring_memory().value();
    doorbell = make_eventfd().value();
    writer = open_ring(memory.get(), 0, doorbell.get()).value();
    reader = open_ring(memory.get(), 0, doorbell.get()).value();
    index_mapping = map_file(memory.get(), 4096, Access::write).value();
    index = reinterpret_cast<RingIndex*>(index_mapping.data());
  }
  bool send(std::string_view text) {
    std::byte* at = writer.reserve(text.size());
    if (!at) return false;
    std::memcpy(at, text.data(), text.size());
    writer.publish(text.size());
    return true;
  }
  std::string receive() {
    const auto frame = reader.front();
    if (!frame) return "(none)";
    std::string text(reinterpret_cast<const char*>(frame->data()), frame->size());
    reader.pop();
    return text;
  }
  Fd memory, doorbell;
  Ring writer, reader;
  Mapping index_mapping;
  RingIndex* index = nullptr;  // what a hostile peer can write
};

bool rings(const Fd& doorbell, int wait_ms = 0) {
  pollfd poll{doorbell.get(), POLLIN, 0};
  return ::poll(&poll, 1, wait_ms) == 1;
}

TEST(Ring, FramesLeaveInOrderWholeAndOnce) {
  Pair p;
  EXPECT_TRUE(p.send("one"));
  EXPECT_TRUE(p.send(""));
  EXPECT_TRUE(p.send(std::string(kFrameMax, 'x')));
  EXPECT_EQ(p.receive(), "one");
  EXPECT_EQ(p.receive(), "");
  EXPECT_EQ(p.receive().size(), kFrameMax);
  EXPECT_EQ(p.receive(), "(none)");
}

TEST(Ring, AFullRingRefusesAndTakesAgainAfterAPop) {
  Pair p;
  int sent = 0;
  while (p.send(std::string(kFrameMax, 'x'))) ++sent;
  EXPECT_GE(sent, 3);
  EXPECT_FALSE(p.writer.broken());
  EXPECT_EQ(p.receive().size(), kFrameMax);
  EXPECT_TRUE(p.send(std::string(kFrameMax, 'y')));
}

TEST(Ring, TheTwoDirectionsDoNotTouch) {
  Pair p;
  Ring back = open_ring(p.memory.get(), 1, p.doorbell.get()).value();
  EXPECT_TRUE(p.send("there"));
  EXPECT_TRUE(back.empty());
  EXPECT_FALSE(back.front());
}

TEST(Ring, PaddingBehindEveryFrameCanBeRead) {
  Pair p;
  Random random(3);
  unsigned sum = 0;
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(p.send(std::string(static_cast<std::size_t>(random.between(0, static_cast<int>(kFrameMax))), 'z')));
    const auto frame = p.reader.front();
    ASSERT_TRUE(frame);
    const std::byte* end = frame->data() + frame->size();
    for (std::size_t at = 0; at < kPadding; ++at) sum += std::to_integer<unsigned>(end[at]);
    p.reader.pop();
  }
  SUCCEED() << sum;
}

// Against a queue of strings.
TEST(Ring, BehavesAsAQueue) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Pair p;
    Random random(seed);
    std::deque<std::string> model;
    for (int step = 0; step < 5000; ++step) {
      if (random.chance(0.55)) {
        std::string text(static_cast<std::size_t>(random.between(0, random.chance(0.1) ? static_cast<int>(kFrameMax) : 300)),
                         static_cast<char>('a' + step % 26));
        if (p.send(text)) model.push_back(std::move(text));
        else EXPECT_FALSE(model.empty()) << "an empty ring takes every frame";
      } else if (model.empty()) {
        EXPECT_EQ(p.receive(), "(none)");
      } else {
        ASSERT_EQ(p.receive(), model.front()) << "seed " << seed << " step " << step;
        model.pop_front();
      }
      EXPECT_EQ(p.reader.empty(), model.empty());
    }
  }
}

TEST(Ring, TheDoorbellRingsOnlyForASleeper) {
  Pair p;
  EXPECT_TRUE(p.send("a"));
  p.writer.wake();
  EXPECT_FALSE(rings(p.doorbell)) << "nobody sleeps";
  EXPECT_FALSE(p.reader.prepare_sleep()) << "there is a frame after all";
  EXPECT_EQ(p.receive(), "a");
  EXPECT_TRUE(p.reader.prepare_sleep());
  EXPECT_TRUE(p.send("b"));
  p.writer.wake();
  EXPECT_TRUE(rings(p.doorbell));
  clear_doorbell(p.doorbell.get());
  p.writer.wake();
  EXPECT_FALSE(rings(p.doorbell)) << "once";
}

// Two threads, as two processes: every frame arrives, none twice, in order, and no wake-up is lost: a sleeper that
// is never woken would wait out its five seconds.
TEST(Ring, NobodyIsWokenForNothing) {
  Pair p;
  ASSERT_TRUE(p.reader.prepare_sleep());
  p.writer.wake();
  EXPECT_FALSE(rings(p.doorbell)) << "nothing was ever sent";
  p.reader.cancel_sleep();
  EXPECT_TRUE(p.send("one"));
  EXPECT_EQ(p.receive(), "one");
  ASSERT_TRUE(p.reader.prepare_sleep());
  p.writer.wake();
  EXPECT_FALSE(rings(p.doorbell)) << "what was sent is read";
  EXPECT_TRUE(p.send("two"));
  p.writer.wake();
  EXPECT_TRUE(rings(p.doorbell));
}

TEST(Ring, TwoThreadsLoseNothing) {
  constexpr std::uint64_t kFrames = 200'000;
  Pair p;
  std::thread producer([&p] {
    Random random(1);
    for (std::uint64_t number = 0; number < kFrames;) {
      const auto extra = static_cast<std::size_t>(random.between(0, random.chance(0.01) ? 40'000 : 200));
      std::byte* at = p.writer.reserve(sizeof number + extra);
      if (!at) {
        p.writer.wake();
        std::this_thread::yield();
        continue;
      }
      std::memcpy(at, &number, sizeof number);
      std::memset(at + sizeof number, static_cast<int>(number & 0xff), extra);
      p.writer.publish(sizeof number + extra);
      ++number;
      if (random.chance(0.3)) p.writer.wake();
      if (random.chance(0.001)) std::this_thread::yield();
    }
    p.writer.wake();
  });
  std::uint64_t expected = 0, slept = 0;
  bool whole = true, woken = true;
  while (expected < kFrames && woken && whole) {
    while (auto frame = p.reader.front()) {
      std::uint64_t number = 0;
      std::memcpy(&number, frame->data(), sizeof number);
      whole &= number == expected && frame->back() == static_cast<std::byte>(frame->size() > sizeof number ? number & 0xff : number >> 56);
      ++expected;
      p.reader.pop();
    }
    if (expected == kFrames || !p.reader.prepare_sleep()) continue;
    ++slept;
    woken = rings(p.doorbell, 5000);
    p.reader.cancel_sleep();
    clear_doorbell(p.doorbell.get());
  }
  EXPECT_TRUE(woken) << "a wake-up was lost behind frame " << expected;
  EXPECT_TRUE(whole) << "frame " << expected << " is torn, lost or doubled";
  if (!woken || !whole) { p.index->consumed.store(~0ULL); }  // ends the producer
  producer.join();
  EXPECT_FALSE(p.reader.broken());
}

TEST(Ring, AHostileConsumerBreaksOnlyTheRing) {
  // Ahead of what was written, or further behind than the ring is large.
  for (const std::uint64_t lie : {1ULL, 64ULL, 0 - (kRingSize + 1ULL), 1ULL << 40, 1ULL << 63}) {
    Pair p;
    p.index->consumed.store(lie);
    EXPECT_FALSE(p.send("a")) << lie;
    EXPECT_TRUE(p.writer.broken()) << lie;
    p.index->consumed.store(0);
    EXPECT_FALSE(p.send("a")) << "broken stays broken";
  }
}

TEST(Ring, AHostileProducerBreaksOnlyTheRing) {
  // Behind what was read, or more than the ring holds.
  for (const std::uint64_t lie : {~0ULL, 1ULL, 63ULL, kRingSize + 128ULL, 1ULL << 40, 1ULL << 63}) {
    Pair p;
    ASSERT_TRUE(p.send("a"));
    EXPECT_EQ(p.receive(), "a");
    p.index->produced.store(lie);
    EXPECT_FALSE(p.reader.front()) << lie;
    EXPECT_TRUE(p.reader.broken()) << lie;
  }
}

TEST(Ring, AFrameThatClaimsMoreThanThereIsBreaksTheRing) {
  for (const std::uint64_t size : {kFrameMax + 1ULL, ~0ULL, ~0ULL - 7, 1ULL << 62, 57ULL}) {
    Pair p;
    ASSERT_TRUE(p.send("a"));
    Mapping data = map_file(p.memory.get(), 4096 + kRingSize, Access::write).value();
    std::memcpy(data.data() + 4096, &size, sizeof size);
    EXPECT_FALSE(p.reader.front()) << size;
    EXPECT_TRUE(p.reader.broken()) << size;
  }
}

// The peer scribbles over indices and data while this side works: whatever it reads stays inside the mapping (the
// sanitizers see it), and sizes are within the limit.
TEST(Ring, SurvivesAPeerThatScribbles) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Pair p;
    std::atomic<bool> stop = false;
    std::thread peer([&] {
      Random random(seed);
      Mapping all = map_file(p.memory.get(), 4096 + kRingSize, Access::write).value();
      while (!stop.load(std::memory_order_relaxed)) {
        switch (random.between(0, 3)) {
          case 0: p.index->produced.store(random.next() >> random.between(0, 63)); break;
          case 1: p.index->consumed.store(random.next() >> random.between(0, 63)); break;
          case 2: p.index->sleeping.store(static_cast<std::uint32_t>(random.next())); break;
          default: {
            auto* words = reinterpret_cast<std::uint64_t*>(all.data() + 4096);
            const auto at = static_cast<std::size_t>(random.between(0, static_cast<int>(kRingSize / 8) - 1)) / 8 * 8;
            std::atomic_ref(words[at]).store(random.next() >> random.between(0, 63), std::memory_order_relaxed);
          }
        }
      }
    });
    unsigned sum = 0;
    for (int round = 0; round < 300; ++round) {
      Ring writer = open_ring(p.memory.get(), 0, p.doorbell.get()).value();
      Ring reader = open_ring(p.memory.get(), 0, p.doorbell.get()).value();
      for (int i = 0; i < 20; ++i) {
        if (std::byte* at = writer.reserve(1000)) {
          std::memset(at, 1, 1000);
          writer.publish(1000);
        }
        writer.wake();
        if (const auto frame = reader.front()) {
          EXPECT_LE(frame->size(), kFrameMax);
          if (!frame->empty()) sum += std::to_integer<unsigned>(frame->front()) + std::to_integer<unsigned>(frame->back());
          reader.pop();
        }
        if (reader.prepare_sleep()) reader.cancel_sleep();
      }
    }
    stop = true;
    peer.join();
    SUCCEED() << sum;
  }
}

}  // namespace
}  // namespace mayfly::os
