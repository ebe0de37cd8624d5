package org.eellm.tensor;

import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Lets a class's tests, whose models are tiny, compute with one thread. */
public final class OneThread implements BeforeAllCallback, AfterAllCallback {
  private int before;

  @Override
  public void beforeAll(ExtensionContext context) {
    before = Torch.threads();
    Torch.setThreads(1);
  }

  @Override
  public void afterAll(ExtensionContext context) {
    Torch.setThreads(before);
  }
}
