// Media: upload to and download from the switch.
//
// Owns the opaque blobs wa-js hands over and gets back. Never sends a message.
"use strict";
standIn("SandboxMedia", () => {
  class OpaqueData {
    static async createFromData(blob, type) {
      const data = new OpaqueData();
      data.blob = blob;
      data.mimetype = type || blob.type;
      data.size = blob.size;
      return data;
    }

    throwIfReleased() {}

    type() {
      return this.mimetype;
    }

    forceToBlob() {
      return this.blob;
    }
  }

  const upload = async (data, filename) => {
    const response = await fetch(sandboxConfig.mediaPath, {
      method: "PUT",
      headers: { "Content-Type": data.mimetype || "application/octet-stream" },
      body: data.blob,
    });
    if (!response.ok) throw new Error(`upload failed: ${response.status}`);
    const stored = await response.json();
    return { media_id: stored.media_id, mimetype: data.mimetype, size: stored.size, filename };
  };

  const download = async (message) => {
    const { mediaData } = message;
    const response = await fetch(`${sandboxConfig.mediaPath}/${mediaData.filehash}`);
    if (!response.ok) throw new Error(`download failed: ${response.status}`);
    const blob = new Blob([await response.arrayBuffer()], { type: mediaData.mimetype });
    mediaData.mediaBlob = await OpaqueData.createFromData(blob, mediaData.mimetype);
  };

  return { OpaqueData, upload, download };
});
