// A Lambda function in C#, whose program speaks the Runtime API itself: for `provided`, compiled by Mono.
using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Text;

[DataContract] class Order { [DataMember(Name = "prices")] public double[] Prices; }
[DataContract] class Total {
  [DataMember(Name = "total")] public double Sum;
  [DataMember(Name = "calls")] public int Calls;
  [DataMember(Name = "runtime")] public string Runtime;
  [DataMember(Name = "function")] public string Function;
}
[DataContract] class Failure { [DataMember(Name = "errorMessage")] public string Message; [DataMember(Name = "errorType")] public string Type; }

static class Program {
  static readonly string Api = "http://" + Environment.GetEnvironmentVariable("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/";
  static int calls;

  static T Read<T>(Stream from) { return (T)new DataContractJsonSerializer(typeof(T)).ReadObject(from); }

  static void Post(string path, object what) {
    var request = (HttpWebRequest)WebRequest.Create(Api + path);
    request.Method = "POST";
    request.ServicePoint.Expect100Continue = false;
    using (var body = request.GetRequestStream()) new DataContractJsonSerializer(what.GetType()).WriteObject(body, what);
    request.GetResponse().Close();
  }

  static Total Handle(Order order) {
    if (order.Prices == null) throw new ArgumentException("an order has prices");
    var total = new Total { Calls = ++calls, Runtime = Environment.Version.ToString(), Function = Environment.GetEnvironmentVariable("AWS_LAMBDA_FUNCTION_NAME") };
    foreach (var price in order.Prices) total.Sum += price;
    Console.WriteLine("summed " + order.Prices.Length);
    return total;
  }

  static void Main() {
    for (;;) {
      var next = (HttpWebRequest)WebRequest.Create(Api + "next");
      next.Timeout = -1;
      string id; Order order;
      using (var reply = next.GetResponse()) { id = reply.Headers["Lambda-Runtime-Aws-Request-Id"]; order = Read<Order>(reply.GetResponseStream()); }
      try { Post(id + "/response", Handle(order)); }
      catch (ArgumentException error) { Post(id + "/error", new Failure { Message = error.Message, Type = error.GetType().Name }); }
    }
  }
}
