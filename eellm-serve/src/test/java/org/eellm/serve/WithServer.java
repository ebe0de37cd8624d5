package org.eellm.serve;

import java.nio.file.Path;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** What tests have that all ask one server; one thread is enough for its model. */
@ExtendWith(OneThread.class)
abstract class WithServer {
  @TempDir static Path folder;
  static TestServer server;

  @BeforeAll
  static void start() {
    server = TestServer.start(folder);
  }

  @AfterAll
  static void stop() {
    server.close();
  }
}
