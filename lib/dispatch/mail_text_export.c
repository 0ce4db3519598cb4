/* Mail on exports, language by language. Dates, numbers and units are written the same in all of them. */
#include "dispatch/mail_text_private.h"

#define NBSP "\u00a0"
#define READY "export.ready"
#define FAILED "export.failed"

static const struct mail_export_texts TEXTS[LANGUAGE_COUNT] = {
    [LANGUAGE_EN] =
        {
            {READY, "Your webhook log export is ready",
             "The export of the delivery logs that was requested for this address is ready.\n"
             "\n"
             "You can download it here until {until}:\n"
             "{link}\n"
             "\n"
             "Anyone who has this link can open the file, without a password or an API key.\n"
             "Share it only with people who may see these logs.\n"
             "\n"
             "{about}"
             "Rows: {rows}\n"
             "File: {format}, compressed with gzip, {size}\n"
             "\n"
             "Unpack the file before you open it; on Windows, a program such as 7-Zip does that.\n"
             "After the time above the link stops working and the file is deleted. If you\n"
             "still need it then, request a new export.\n"
             "\n"
             "You receive this mail because an export was requested for this address.\n"},
            {FAILED, "Your webhook log export failed",
             "The export of the delivery logs that was requested for this address could not be\n"
             "completed.\n"
             "\n"
             "Reason: {error}\n"
             "\n"
             "{about}"
             "\n"
             "What you can do: request the export again. If it fails once more, choose a\n"
             "shorter period, or contact the operator of this service and quote the job ID\n"
             "above. The delivery logs themselves are not affected.\n"
             "\n"
             "You receive this mail because an export was requested for this address.\n"},
            "Workspace: {workspace}\n"
            "Period: {start} – {end}\n"
            "Job ID: {job}\n",
            "oldest entry",
            "time of the export",
            "unknown",
        },
    [LANGUAGE_ZH_TW] =
        {
            {READY, "您的 Webhook 傳送記錄匯出檔已可下載",
             "為此電子郵件地址申請的 Webhook 傳送記錄匯出已完成。\n"
             "\n"
             "請於 {until} 之前透過以下連結下載：\n"
             "{link}\n"
             "\n"
             "任何取得此連結的人都能開啟檔案，不需要密碼或 API 金鑰；\n"
             "請只分享給有權查看這些記錄的人。\n"
             "\n"
             "{about}"
             "資料筆數：{rows}\n"
             "檔案：{format}（gzip 壓縮），{size}\n"
             "\n"
             "開啟前請先解壓縮；在 Windows 上可使用 7-Zip 等程式。\n"
             "逾期後連結即失效，檔案也會一併刪除；屆時如仍有需要，請重新申請匯出。\n"
             "\n"
             "您會收到這封郵件，是因為有人以此地址申請了匯出。\n"},
            {FAILED, "您的 Webhook 傳送記錄匯出失敗",
             "為此電子郵件地址申請的 Webhook 傳送記錄匯出未能完成。\n"
             "\n"
             "原因（英文）：{error}\n"
             "\n"
             "{about}"
             "\n"
             "處理方式：請重新申請匯出。如果再次失敗，請縮短期間，\n"
             "或洽詢本服務的管理者，並提供上述工作編號。傳送記錄本身不受影響。\n"
             "\n"
             "您會收到這封郵件，是因為有人以此地址申請了匯出。\n"},
            "工作區：{workspace}\n"
            "期間：{start} – {end}\n"
            "工作編號：{job}\n",
            "最早的記錄",
            "匯出當時",
            "不明",
        },
    [LANGUAGE_ZH_CN] =
        {
            {READY, "您的 Webhook 投递日志导出文件已可下载",
             "为此邮箱地址申请的 Webhook 投递日志导出已完成。\n"
             "\n"
             "请在 {until} 之前通过以下链接下载：\n"
             "{link}\n"
             "\n"
             "任何获得此链接的人都可以打开该文件，无需密码或 API 密钥；\n"
             "请仅分享给有权查看这些日志的人。\n"
             "\n"
             "{about}"
             "行数：{rows}\n"
             "文件：{format}（gzip 压缩），{size}\n"
             "\n"
             "打开前请先解压；在 Windows 上可使用 7-Zip 等程序。\n"
             "过期后链接将失效，文件也会被删除；届时如仍有需要，请重新申请导出。\n"
             "\n"
             "您收到此邮件，是因为有人使用此地址申请了导出。\n"},
            {FAILED, "您的 Webhook 投递日志导出失败",
             "为此邮箱地址申请的 Webhook 投递日志导出未能完成。\n"
             "\n"
             "原因（英文）：{error}\n"
             "\n"
             "{about}"
             "\n"
             "处理办法：请重新申请导出。如果再次失败，请缩短时间范围，\n"
             "或联系本服务的管理员，并提供上述任务编号。投递日志本身不受影响。\n"
             "\n"
             "您收到此邮件，是因为有人使用此地址申请了导出。\n"},
            "工作区：{workspace}\n"
            "时间范围：{start} – {end}\n"
            "任务编号：{job}\n",
            "最早的记录",
            "导出时",
            "未知",
        },
    [LANGUAGE_JA] =
        {
            {READY, "Webhook 配信ログのエクスポートが完了しました",
             "このメールアドレス宛てに依頼された Webhook 配信ログのエクスポートが完了しました。\n"
             "\n"
             "次のリンクからダウンロードできます（有効期限：{until}）。\n"
             "{link}\n"
             "\n"
             "このリンクを知っている人は誰でも、パスワードや API キーなしでファイルを開けます。\n"
             "ログの閲覧を許可されている人以外には共有しないでください。\n"
             "\n"
             "{about}"
             "件数：{rows}\n"
             "ファイル：{format}（gzip 圧縮）、{size}\n"
             "\n"
             "ファイルは展開してから開いてください。Windows では 7-Zip などで展開できます。\n"
             "有効期限を過ぎるとリンクは無効になり、ファイルは削除されます。\n"
             "その後も必要な場合は、もう一度エクスポートを依頼してください。\n"
             "\n"
             "このメールは、このアドレス宛てにエクスポートが依頼されたためお送りしています。\n"},
            {FAILED, "Webhook 配信ログのエクスポートに失敗しました",
             "このメールアドレス宛てに依頼された Webhook 配信ログのエクスポートを完了できませんでした。\n"
             "\n"
             "理由（英語）：{error}\n"
             "\n"
             "{about}"
             "\n"
             "対処方法：もう一度エクスポートを依頼してください。再び失敗する場合は、期間を短くするか、\n"
             "上記のジョブ ID を添えて本サービスの管理者にお問い合わせください。\n"
             "配信ログ自体に影響はありません。\n"
             "\n"
             "このメールは、このアドレス宛てにエクスポートが依頼されたためお送りしています。\n"},
            "ワークスペース：{workspace}\n"
            "期間：{start} ～ {end}\n"
            "ジョブ ID：{job}\n",
            "最も古い記録",
            "エクスポート時点",
            "不明",
        },
    [LANGUAGE_FR] =
        {
            {READY, "L’export de vos journaux de webhooks est prêt",
             "L’export des journaux de livraison demandé pour cette adresse est prêt.\n"
             "\n"
             "Vous pouvez le télécharger ici jusqu’au {until}" NBSP ":\n"
             "{link}\n"
             "\n"
             "Toute personne disposant de ce lien peut ouvrir le fichier, sans mot de passe ni\n"
             "clé d’API. Ne le transmettez qu’à des personnes autorisées à consulter ces journaux.\n"
             "\n"
             "{about}"
             "Lignes" NBSP ": {rows}\n"
             "Fichier" NBSP ": {format}, compressé avec gzip, {size}\n"
             "\n"
             "Décompressez le fichier avant de l’ouvrir" NBSP "; sous Windows, un logiciel comme 7-Zip\n"
             "convient. Passé ce délai, le lien ne fonctionnera plus et le fichier sera supprimé.\n"
             "Si vous en avez encore besoin, demandez un nouvel export.\n"
             "\n"
             "Vous recevez ce message parce qu’un export a été demandé pour cette adresse.\n"},
            {FAILED, "L’export de vos journaux de webhooks a échoué",
             "L’export des journaux de livraison demandé pour cette adresse n’a pas pu aboutir.\n"
             "\n"
             "Motif (en anglais)" NBSP ": {error}\n"
             "\n"
             "{about}"
             "\n"
             "Que faire" NBSP "? Demandez de nouveau l’export. S’il échoue encore, choisissez une période\n"
             "plus courte ou adressez-vous à l’exploitant de ce service en indiquant l’identifiant\n"
             "de la tâche ci-dessus. Les journaux de livraison eux-mêmes ne sont pas affectés.\n"
             "\n"
             "Vous recevez ce message parce qu’un export a été demandé pour cette adresse.\n"},
            "Espace de travail" NBSP ": {workspace}\n"
            "Période" NBSP ": {start} – {end}\n"
            "Identifiant de la tâche" NBSP ": {job}\n",
            "entrée la plus ancienne",
            "moment de l’export",
            "inconnu",
        },
    [LANGUAGE_DE] =
        {
            {READY, "Ihr Export der Webhook-Protokolle ist fertig",
             "Der für diese Adresse angeforderte Export der Zustellprotokolle ist fertig.\n"
             "\n"
             "Sie können ihn hier bis {until} herunterladen:\n"
             "{link}\n"
             "\n"
             "Wer diesen Link hat, kann die Datei ohne Passwort und ohne API-Schlüssel öffnen.\n"
             "Geben Sie ihn nur an Personen weiter, die diese Protokolle sehen dürfen.\n"
             "\n"
             "{about}"
             "Zeilen: {rows}\n"
             "Datei: {format}, mit gzip komprimiert, {size}\n"
             "\n"
             "Entpacken Sie die Datei, bevor Sie sie öffnen; unter Windows geht das zum Beispiel\n"
             "mit 7-Zip. Nach dem genannten Zeitpunkt funktioniert der Link nicht mehr, und die\n"
             "Datei wird gelöscht. Falls Sie sie dann noch brauchen, fordern Sie bitte einen neuen\n"
             "Export an.\n"
             "\n"
             "Sie erhalten diese E-Mail, weil für diese Adresse ein Export angefordert wurde.\n"},
            {FAILED, "Ihr Export der Webhook-Protokolle ist fehlgeschlagen",
             "Der für diese Adresse angeforderte Export der Zustellprotokolle konnte nicht\n"
             "abgeschlossen werden.\n"
             "\n"
             "Grund (auf Englisch): {error}\n"
             "\n"
             "{about}"
             "\n"
             "Was Sie tun können: Fordern Sie den Export noch einmal an. Schlägt er wieder fehl,\n"
             "wählen Sie einen kürzeren Zeitraum, oder wenden Sie sich an den Betreiber dieses\n"
             "Dienstes und nennen Sie ihm die oben stehende Auftragsnummer. Die Zustellprotokolle\n"
             "selbst sind davon nicht betroffen.\n"
             "\n"
             "Sie erhalten diese E-Mail, weil für diese Adresse ein Export angefordert wurde.\n"},
            "Arbeitsbereich: {workspace}\n"
            "Zeitraum: {start} – {end}\n"
            "Auftragsnummer: {job}\n",
            "ältester Eintrag",
            "Zeitpunkt des Exports",
            "unbekannt",
        },
    [LANGUAGE_ES] =
        {
            {READY, "Su exportación de los registros de webhooks está lista",
             "La exportación de los registros de entrega solicitada para esta dirección está lista.\n"
             "\n"
             "Puede descargarla aquí hasta el {until}:\n"
             "{link}\n"
             "\n"
             "Cualquier persona que tenga este enlace puede abrir el archivo, sin contraseña ni\n"
             "clave de API. Compártalo solo con quienes estén autorizados a ver estos registros.\n"
             "\n"
             "{about}"
             "Filas: {rows}\n"
             "Archivo: {format}, comprimido con gzip, {size}\n"
             "\n"
             "Descomprima el archivo antes de abrirlo; en Windows puede usar un programa como\n"
             "7-Zip. Pasada esa fecha, el enlace dejará de funcionar y el archivo se eliminará.\n"
             "Si entonces todavía lo necesita, solicite una nueva exportación.\n"
             "\n"
             "Recibe este mensaje porque se solicitó una exportación para esta dirección.\n"},
            {FAILED, "Su exportación de los registros de webhooks ha fallado",
             "No se pudo completar la exportación de los registros de entrega solicitada para esta\n"
             "dirección.\n"
             "\n"
             "Motivo (en inglés): {error}\n"
             "\n"
             "{about}"
             "\n"
             "Qué puede hacer: solicite de nuevo la exportación. Si vuelve a fallar, elija un\n"
             "período más corto o póngase en contacto con el responsable de este servicio e indique\n"
             "el identificador de la tarea que figura arriba. Los registros de entrega no se han\n"
             "visto afectados.\n"
             "\n"
             "Recibe este mensaje porque se solicitó una exportación para esta dirección.\n"},
            "Espacio de trabajo: {workspace}\n"
            "Período: {start} – {end}\n"
            "Identificador de la tarea: {job}\n",
            "entrada más antigua",
            "momento de la exportación",
            "desconocido",
        },
    [LANGUAGE_VI] =
        {
            {READY, "Bản xuất nhật ký webhook của bạn đã sẵn sàng",
             "Bản xuất nhật ký gửi webhook được yêu cầu cho địa chỉ này đã sẵn sàng.\n"
             "\n"
             "Bạn có thể tải xuống tại đây cho đến {until}:\n"
             "{link}\n"
             "\n"
             "Bất kỳ ai có liên kết này đều có thể mở tệp mà không cần mật khẩu hay khóa API.\n"
             "Vui lòng chỉ chia sẻ với những người được phép xem nhật ký này.\n"
             "\n"
             "{about}"
             "Số dòng: {rows}\n"
             "Tệp: {format}, nén bằng gzip, {size}\n"
             "\n"
             "Hãy giải nén tệp trước khi mở; trên Windows, bạn có thể dùng chương trình như 7-Zip.\n"
             "Sau thời điểm trên, liên kết sẽ hết hiệu lực và tệp sẽ bị xóa. Nếu khi đó bạn vẫn\n"
             "cần, vui lòng yêu cầu xuất lại.\n"
             "\n"
             "Bạn nhận được thư này vì có yêu cầu xuất nhật ký cho địa chỉ này.\n"},
            {FAILED, "Xuất nhật ký webhook không thành công",
             "Không thể hoàn tất việc xuất nhật ký gửi webhook được yêu cầu cho địa chỉ này.\n"
             "\n"
             "Lý do (bằng tiếng Anh): {error}\n"
             "\n"
             "{about}"
             "\n"
             "Cách xử lý: hãy yêu cầu xuất lại. Nếu vẫn không thành công, hãy chọn khoảng thời gian\n"
             "ngắn hơn hoặc liên hệ với đơn vị vận hành dịch vụ này và cung cấp mã tác vụ ở trên.\n"
             "Bản thân nhật ký không bị ảnh hưởng.\n"
             "\n"
             "Bạn nhận được thư này vì có yêu cầu xuất nhật ký cho địa chỉ này.\n"},
            "Không gian làm việc: {workspace}\n"
            "Khoảng thời gian: {start} – {end}\n"
            "Mã tác vụ: {job}\n",
            "bản ghi cũ nhất",
            "thời điểm xuất",
            "không rõ",
        },
};

const struct mail_export_texts *mail_export_texts(enum language language) {
    return &TEXTS[language];
}
