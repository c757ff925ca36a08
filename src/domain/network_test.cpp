#include "domain/network.h"

#include <gtest/gtest.h>

#include "domain/manifest.h"

namespace mayfly::domain {
namespace {

std::string said(std::string_view text) {
  const auto parsed = parse_destination(text);
  return parsed ? to_text(*parsed) : "no";
}

TEST(Network, DestinationsTable) {
  EXPECT_EQ(said("api.Example.com:443"), "api.example.com:443");
  EXPECT_EQ(said("10.1.2.3:5432"), "10.1.2.3:5432");
  EXPECT_EQ(said("[2001:DB8:0::1]:443"), "[2001:db8::1]:443");
  EXPECT_EQ(said("[::ffff:10.0.0.1]:80"), "10.0.0.1:80");
  EXPECT_EQ(said("localhost:1"), "localhost:1");
  EXPECT_EQ(said("169.254.169.254:80"), "169.254.169.254:80");
  for (const char* text : {"", "a", "a:", ":1", "a:0", "a:65536", "a:-1", "a:+1", "a: 1", "a b:1", "a..b:1", "-a:1", "a-:1", "[a]:1",
                           "2001:db8::1:443", "[]:1", "*.example.com:443", "*:443", "0.0.0.0:80", "[::]:80", "224.0.0.1:80", "1.2.3:80",
                           "2130706433:80", "0x7f000001:80", "127.1:80", "a\tb:1", "a\n:1", "ä.example:1", "http://a:80", "a/b:80"})
    EXPECT_EQ(said(text), "no") << text;
}

TEST(Network, EachNameHasOneMadeUpAddressAndLiteralsTheirOwn) {
  std::vector<Destination> list;
  for (const char* text : {"a.example:443", "10.1.2.3:5432", "b.example:443", "a.example:80", "localhost:9000", "[2001:db8::1]:443"})
    list.push_back(parse_destination(text).value());
  std::vector<std::string> inside;
  for (const Ip& ip : addresses_inside(list)) inside.push_back(to_text(ip));
  EXPECT_EQ(inside, (std::vector<std::string>{"198.18.1.1", "10.1.2.3", "198.18.1.2", "198.18.1.1", "127.0.0.1", "2001:db8::1"}));
}

TEST(Network, WhatNoNameMayLeadTo) {
  const auto closed = [](std::string_view text) { return closed_to_names(parse_ip(text).value()); };
  for (const char* text : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"})
    EXPECT_EQ(closed(text), Closed::loopback) << text;
  for (const char* text : {"169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.0.1", "64:ff9b::a9fe:a9fe"})
    EXPECT_EQ(closed(text), Closed::link_local) << text;
  for (const char* text : {"0.0.0.0", "0.1.2.3", "::", "::127.0.0.1", "255.255.255.255", "239.1.1.1", "ff02::1"})
    EXPECT_EQ(closed(text), Closed::unspecified) << text;
  EXPECT_EQ(closed("fd00:ec2::254"), Closed::metadata);
  for (const char* text : {"10.0.0.1", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fec0::1", "126.255.255.255", "128.0.0.1", "169.253.0.1"})
    EXPECT_EQ(closed(text), Closed::no) << text;
}

TEST(Network, ManifestSaysNoneHostOrAList) {
  const std::string head = "name: a\nruntime: python3.11\nhandler: app.handler\n";
  EXPECT_EQ(parse_manifest(head).value().network, Network{});
  EXPECT_EQ(parse_manifest(head + "network: none\n").value().network, Network{});
  EXPECT_EQ(parse_manifest(head + "network: host\n").value().network.reach, Reach::host);
  const auto listed = parse_manifest(head + "network: {outbound: ['API.example.com:443', '[2001:db8::1]:443']}\n").value();
  EXPECT_EQ(listed.network, (Network{Reach::outbound, {"api.example.com:443", "[2001:db8::1]:443"}}));
  EXPECT_EQ(manifest_from_json(to_json(listed)).value(), listed);
  for (const char* text : {"network: all\n", "network: {outbound: []}\n", "network: {outbound: a:1}\n", "network: {outbound: [a]}\n",
                           "network: [a:1]\n", "network: {inbound: [a:1]}\n", "network: {outbound: [a:1, A:1]}\n",
                           "network: {outbound: [localhost:80, '127.0.0.1:80']}\n", "network: {}\n"})
    EXPECT_FALSE(parse_manifest(head + text)) << text;
  EXPECT_FALSE(parse_manifest("model: m.onnx\nnetwork: host\n"));
}

}  // namespace
}  // namespace mayfly::domain
