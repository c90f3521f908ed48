// Sends events and metrics to logferry:
//   await Events.SendAsync(new { @event = "order placed", orderId = 4711, requestId = context.AwsRequestId });
//   await Events.SendAsync(new { metric = "orders", value = 3, unit = "Count", requestId = context.AwsRequestId });
using System;
using System.IO;
using System.Net.Http;
using System.Text.Json;
using System.Threading.Tasks;

public static class Events
{
    private static readonly HttpClient Client = new(new SocketsHttpHandler { UseProxy = false })
    {
        Timeout = TimeSpan.FromMilliseconds(500),
    };

    private static readonly Uri Url = FindUrl();

    /// <summary>Sends one event. The result is true if it is stored; the task never fails.</summary>
    public static async Task<bool> SendAsync<T>(T value)
    {
        try
        {
            using var content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(value));
            using var response = await Client.PostAsync(Url, content).ConfigureAwait(false);
            return (int)response.StatusCode == 200;
        }
        catch (Exception error) when (error is HttpRequestException or TaskCanceledException or JsonException or NotSupportedException)
        {
            return false;
        }
    }

    private static Uri FindUrl()
    {
        try
        {
            return new Uri(File.ReadAllText(Path.Combine(Variable("LOGFERRY_SPOOL_DIR", "/tmp/logferry"), "events-url")).Trim());
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return new Uri("http://127.0.0.1:" + Variable("LOGFERRY_PORT", "9513") + "/events");
        }
    }

    private static string Variable(string name, string otherwise) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : otherwise;
}
