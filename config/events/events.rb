# Sends events and metrics to logferry:
#   Events.send_event({ event: "order placed", orderId: 4711, requestId: context.aws_request_id })
#   Events.send_event({ metric: "orders", value: 3, unit: "Count", requestId: context.aws_request_id })
require "json"
require "net/http"

module Events
  TIMEOUT_SECONDS = 0.5

  # Sends one event; returns whether it is stored.
  def self.send_event(event)
    url = find_url
    http = Net::HTTP.new(url.host, url.port, nil)
    http.open_timeout = http.read_timeout = http.write_timeout = TIMEOUT_SECONDS
    http.max_retries = 0
    http.post(url.path, JSON.generate(event)).code == "200"
  rescue JSON::JSONError, IOError, SystemCallError, Timeout::Error, Net::ProtocolError
    false
  end

  def self.find_url
    @find_url ||= URI(File.read("#{ENV.fetch("LOGFERRY_SPOOL_DIR", "/tmp/logferry")}/events-url").strip)
  rescue SystemCallError
    @find_url = URI("http://127.0.0.1:#{ENV.fetch("LOGFERRY_PORT", "9513")}/events")
  end
end
