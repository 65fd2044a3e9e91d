#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "net/curl/curl_multi.h"
#include "net/curl/library.h"

/// The inside of CurlMulti: not for other rooms.
namespace aegis::net {

/// One easy handle with everything it points to. Only the curl thread touches it once it is
/// attached.
class Transfer {
  public:
    Transfer(TransferId id, CurlRequest request, CurlCallbacks callbacks);
    ~Transfer();
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    struct EasyDeleter {
        void operator()(CURL* easy) const { curl().easy_cleanup(easy); }
    };
    using EasyPtr = std::unique_ptr<CURL, EasyDeleter>;

    /// Sets all options, of a handle that another transfer had, or of a new one. kInvalid for a
    /// header that may not be sent, kTimeout if it is too late already.
    Status prepare(EasyPtr used);
    CURL* easy() const { return easy_.get(); }
    /// Over a connection of its own: its handle is a new one, and no other's hereafter.
    bool pinned() const { return !request_.connection_to.empty(); }
    /// When the multi has let go of it: the handle, as good as new and with nothing of this
    /// transfer in it.
    EasyPtr takeEasy();
    TransferId id() const { return id_; }

    void finish(CURLcode code);
    void fail(Error error);
    /// From now on nothing is called back.
    void mute() { muted_ = true; }
    bool muted() const { return muted_; }

  private:
    static std::size_t onWrite(char* bytes, std::size_t size, std::size_t count, void* self);
    static std::size_t onHeader(char* bytes, std::size_t size, std::size_t count, void* self);
    static curl_socket_t onOpenSocket(void* self, curlsocktype, curl_sockaddr*);
    static int onSocket(void* self, curl_socket_t, curlsocktype);
    Status pin();
    std::uint64_t bytes() const;
    Status addHeader(std::string_view name, std::string_view value);
    void setBody();
    std::size_t take(std::string_view chunk);
    void takeHeaderLine(std::string_view line);
    Error errorOf(CURLcode code) const;

    TransferId id_;
    CurlRequest request_;
    CurlCallbacks callbacks_;
    EasyPtr easy_;
    curl_slist* headers_ = nullptr;
    curl_slist* connect_to_ = nullptr;
    std::array<char, CURL_ERROR_SIZE> message_{};
    CurlHead head_;
    bool head_told_ = false;
    std::uint64_t received_ = 0;
    std::size_t head_bytes_ = 0;   ///< of all heads and trailers
    std::optional<Error> reason_;  ///< of our own abort
    bool muted_ = false;
};

}  // namespace aegis::net
