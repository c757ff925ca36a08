// A custom handler of Azure Functions in C#: an HTTP server that the host sends POST /FUNCTION, with the bindings' data.
using System;
using System.IO;
using System.Net;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Text;
using System.Text.RegularExpressions;

[DataContract] class Answer { [DataMember(Name = "Outputs")] public Outputs Outputs; [DataMember(Name = "Logs")] public string[] Logs; }
[DataContract] class Outputs { [DataMember(Name = "res")] public Reply Reply; }
[DataContract] class Reply { [DataMember(Name = "statusCode")] public int Status; [DataMember(Name = "body")] public string Body; }

static class Program {
  static void Main() {
    var server = new HttpListener();
    server.Prefixes.Add("http://127.0.0.1:" + Environment.GetEnvironmentVariable("FUNCTIONS_CUSTOMHANDLER_PORT") + "/");
    server.Start();
    for (;;) {
      var call = server.GetContext();
      string text;
      using (var reader = new StreamReader(call.Request.InputStream, Encoding.UTF8)) text = reader.ReadToEnd();
      var id = Regex.Match(text, "\"Params\":\\s*{\\s*\"id\":\\s*\"([^\"]*)\"").Groups[1].Value;
      var answer = new Answer { Outputs = new Outputs { Reply = new Reply { Status = 201, Body = "order " + id + " by C#" } },
                                Logs = new[] { call.Request.Url.AbsolutePath + " took " + id } };
      call.Response.ContentType = "application/json";
      new DataContractJsonSerializer(typeof(Answer)).WriteObject(call.Response.OutputStream, answer);
      call.Response.Close();
    }
  }
}
