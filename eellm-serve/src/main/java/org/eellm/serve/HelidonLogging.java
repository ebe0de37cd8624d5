package org.eellm.serve;

import io.helidon.logging.common.spi.LoggingProvider;

/** Tells Helidon that logs are set up: its own go to SLF4J, as all do. */
public final class HelidonLogging implements LoggingProvider {
  @Override
  public void initialization() {
    // nothing is left to do
  }

  @Override
  public void runTime() {
    // nothing is left to do
  }
}
