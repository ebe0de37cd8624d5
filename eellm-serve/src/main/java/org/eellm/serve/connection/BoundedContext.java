package org.eellm.serve.connection;

import io.helidon.common.buffers.DataReader;
import io.helidon.common.buffers.DataWriter;
import io.helidon.common.socket.HelidonSocket;
import io.helidon.common.socket.PeerInfo;
import io.helidon.webserver.ConnectionContext;
import io.helidon.webserver.ListenerContext;
import io.helidon.webserver.ProxyProtocolData;
import io.helidon.webserver.Router;
import java.util.Optional;
import java.util.concurrent.ExecutorService;

/**
 * A connection as Helidon sees it, whose bytes come through ours.
 *
 * @param reader of these bytes
 */
record BoundedContext(ConnectionContext whole, DataReader reader) implements ConnectionContext {

  static BoundedContext of(ConnectionContext whole, Connection connection) {
    return new BoundedContext(whole, DataReader.create(connection::read));
  }

  @Override
  public DataReader dataReader() {
    return reader;
  }

  @Override
  public ListenerContext listenerContext() {
    return whole.listenerContext();
  }

  @Override
  public ExecutorService executor() {
    return whole.executor();
  }

  @Override
  public DataWriter dataWriter() {
    return whole.dataWriter();
  }

  @Override
  public Router router() {
    return whole.router();
  }

  @Override
  public Optional<ProxyProtocolData> proxyProtocolData() {
    return whole.proxyProtocolData();
  }

  @Override
  public HelidonSocket serverSocket() {
    return whole.serverSocket();
  }

  @Override
  public PeerInfo remotePeer() {
    return whole.remotePeer();
  }

  @Override
  public PeerInfo localPeer() {
    return whole.localPeer();
  }

  @Override
  public boolean isSecure() {
    return whole.isSecure();
  }

  @Override
  public String socketId() {
    return whole.socketId();
  }

  @Override
  public String childSocketId() {
    return whole.childSocketId();
  }
}
